"""Verified facts: who makes a call, and how it arrived.

Only `operations.authenticate` creates a `Caller`. The verifiers in `federation` create a `domain.proof.Proof`. Raw
input is named `unverified_…` until it is verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from daypass.domain.directory import Tags
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.session import FeedPosition, Hop, SessionClaims
from daypass.domain.source import Source, network_of


class PrincipalKind(StrEnum):
    """The type of a caller. Values are those of aws:PrincipalType: "IAM JSON policy elements: aws:PrincipalType"."""

    ROOT = "Account"
    USER = "User"
    ROLE_SESSION = "AssumedRole"
    FEDERATED_USER = "FederatedUser"
    WEB_IDENTITY = "WebIdentityUser"  # holds an issuer's token
    SAML = "SAMLUser"
    CERTIFICATE = "AWSService"  # in AWS, Roles Anywhere calls AssumeRole for the host
    ANONYMOUS = "Anonymous"


class CallerDerived:
    """Values derived from a caller, computed at first use. They do not affect equality, and pickling drops them.

    Callers with the same long-term key share one instance, because all values depend only on the key. Others must not.
    """

    __slots__ = ("actor", "context", "principal")

    def __init__(self) -> None:
        self.context: Mapping[str, Value] | None = (
            None  # `domain.context.request_context`: the keys that do not change between calls
        )
        self.principal: PrincipalFacts | None = None  # `domain.context.principal_facts`
        self.actor: Mapping[str, Any] | None = None  # `operations.outcome.actor_of`

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CallerDerived)

    def __hash__(self) -> int:
        return 0

    def __reduce__(self) -> tuple[type[CallerDerived], tuple[()]]:
        return CallerDerived, ()


class Caller(Struct, frozen=True):
    """An authenticated principal.

    `arn` and `user_id` are what GetCallerIdentity shows; `principal_arn` is aws:PrincipalArn (the role's ARN for
    a role session). `principal_id` is the unique id that trust, bindings and revocations match: AIDA…, AROA…, the
    account id for a root, ACCOUNT:NAME for a federated user.
    """

    kind: PrincipalKind
    account: str
    arn: str
    principal_arn: str
    user_id: str
    principal_id: str
    name: str
    access_key_id: str
    seen: FeedPosition
    hops: tuple[Hop, ...]  # the chain so far, ending with the caller itself
    session: SessionClaims | None = None
    tags: Tags = ()  # aws:PrincipalTag: the principal's tags, overridden by the session's
    mfa_at: int = 0
    auth_method: str = "sigv4"
    derived: CallerDerived = field(default_factory=CallerDerived)


@lru_cache(maxsize=1)
def nobody(seen: FeedPosition) -> Caller:
    """The caller of an operation that needs no signature. It has no account, name or permissions."""
    return Caller(
        kind=PrincipalKind.ANONYMOUS,
        account="",
        arn="",
        principal_arn="",
        user_id="",
        principal_id="",
        name="",
        access_key_id="",
        seen=seen,
        hops=(),
        auth_method="",
    )


class RequestFacts(Struct, frozen=True):
    """How a request arrived. The server measured every field, except those whose name says unverified."""

    request_id: str
    received_at: int  # ms
    operation: str  # "sts:AssumeRole", "iam:CreateRole", "daypass:CreateAccount"; "" when unknown
    source_ip: str
    user_agent: str
    trace_id: str = ""
    region: str = ""
    referer: str = ""
    secure_transport: bool = False

    @property
    def source(self) -> Source:
        """The network, to which work for a request without a caller is charged."""
        return Source(network_of(self.source_ip))
