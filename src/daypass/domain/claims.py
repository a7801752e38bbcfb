"""Verified facts: who makes a call, and how it arrived.

Only `operations.authenticate` creates a `Caller`. The verifiers in `federation` create a `Proof`. Raw
input is named `unverified_…` until it is verified.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct, field

from daypass.domain.arn import Source, network_of
from daypass.domain.directory import Tags
from daypass.domain.jws import Party
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.session import FeedPosition, Hop, SessionClaims


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
    scim_token: str = ""  # the id of the SCIM token that the caller presented


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


# --- The result of verifying a federated proof: the same type for every kind of proof


class OneTime(Struct, frozen=True):
    """A proof that may be used once: see `directory.ReplayEntry`."""

    purpose: str
    id: str
    expires_at: int  # ms; the proof itself expires then


TRANSIENT: Final = "transient:"
"""The prefix of the subject of such a principal id."""


class Proof(Struct, frozen=True):
    """Verified facts about a federated principal."""

    kind: PrincipalKind  # WEB_IDENTITY, SAML or CERTIFICATE
    method: str  # daypass:AuthMethod, and `auth_method` of the session: "oidc", "saml", "x509"
    account: str  # the account of the provider (or trust anchor)
    provider: str  # its ARN, which Principal elements of the type Federated name
    subject: str  # the identity, as the provider names it
    # issuer, audience: for the response and the record.
    issuer: str = ""
    audience: str = ""
    # Context keys of the proof, lower-cased: "<issuer>:sub", "saml:aud", "aws:principaltag/x509subject/cn" ….
    keys: Mapping[str, Value] = field(default_factory=dict)
    # tags, transitive_keys, source_identity: what the proof requests for the session.
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    service: str = ""  # the service principal that trust policies name instead of a provider, or ""
    one_time: OneTime | None = None  # set when this proof may be used only once
    not_after: int = 0  # ms; the latest end of the session; 0: no limit
    # Further facts for the record, JSON; never the proof itself.
    record: Mapping[str, object] = field(default_factory=dict)
    # The context keys of the proof that policies also see in calls of the session.
    session_keys: Mapping[str, Value] = field(default_factory=dict)
    actors: tuple[Party, ...] = ()  # the parties that act for the subject, newest first
    # The party that may act for the subject; the proof is then accepted only together with a proof of that party.
    may_act: Party | None = None
    authenticated_at: int = 0  # ms; when the provider authenticated the person, as it says; 0: it does not say
    methods: tuple[str, ...] = ()  # how (RFC 8176), as it says
    transient: bool = False  # the provider names the identity anew at each sign-in
    # Checks that the provider is still the one that verified it. They take the environment.
    again: tuple[Callable[[Any], Awaitable[object]], ...] = ()

    @property
    def principal_id(self) -> str:
        """The principal of the chain's first hop. Revocations of kind "principal" name it."""
        return f"{self.provider}:{TRANSIENT if self.transient else ''}{self.subject}"

    def principal(self) -> PrincipalFacts:
        """The principal as Principal elements match it: a provider's user has no ARN of its own before it has a role."""
        if self.service:
            return PrincipalFacts(kind=self.kind, account="", arns=(), service=self.service)
        return PrincipalFacts(kind=self.kind, account="", arns=(), federated=self.provider)


# --- An account's allow-list: the issuers of tokens that it may trust


MAX_ISSUERS = 100
MAX_ISSUER = 255
_BELOW = "/*"
_ENTRY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%!$&'()+,;=:@-]*)*"
)


_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def has_dot_segments(url: str) -> bool:
    """Whether a web server may resolve this URL to another one (RFC 3986, 5.2.4), outside an allowed path."""
    return _DOTS.search(url) is not None


def entry_fault(entry: str) -> str:
    """Why an entry is not valid, in words; "" when it is valid."""
    if len(entry) > MAX_ISSUER or not _ENTRY.fullmatch(entry.removesuffix("*") if entry.endswith(_BELOW) else entry):
        return "an entry is an issuer's URL without https://, or a path and /* for everything below it"
    return ""


def issuer_allowed(allowed: Sequence[str] | None, url: str) -> bool:
    """Whether an account with this allow-list (None: no list, any issuer) may trust the provider `url`. Exact comparison."""
    if allowed is None:
        return True
    if url in allowed:
        return True
    below = (entry[:-1] for entry in allowed if entry.endswith(_BELOW))
    return not has_dot_segments(url) and any(map(url.startswith, below))


def secret_owner(url: str, member: str) -> str:
    """The associated data of a sealed secret: this provider and this member only."""
    return f"oidc-provider/{url}#{member}"
