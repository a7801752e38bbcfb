"""Verified facts: who is calling, and how the call arrived.

Only a verifier (`operations.authenticate` and, later, the federation verifiers) builds these types. Raw input is
named `unverified_…` until it has become one of them.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Any

from daypass.domain.directory import Tags
from daypass.domain.session import Hop, Seen, SessionClaims
from daypass.domain.value import value


class PrincipalKind(StrEnum):
    """What a caller is. Values are those of aws:PrincipalType, as "IAM JSON policy elements: aws:PrincipalType" lists them."""

    ROOT = "Account"
    USER = "User"
    ROLE_SESSION = "AssumedRole"
    FEDERATED_USER = "FederatedUser"
    WEB_IDENTITY = "WebIdentityUser"  # the bearer of an issuer's token
    SAML = "SAMLUser"
    CERTIFICATE = "AWSService"  # AWS has Roles Anywhere call AssumeRole for the host
    ANONYMOUS = "Anonymous"


@value
class Caller:
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
    seen: Seen
    hops: tuple[Hop, ...]  # the chain so far, ending with the caller itself
    session: SessionClaims | None = None
    tags: Tags = ()  # aws:PrincipalTag: the principal's own, overridden by its session's
    mfa_at: int = 0
    auth_method: str = "sigv4"
    # See `ports.KeyView.memo`. Of a view, only if all that is kept of the caller follows from the view; never of another caller.
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


def nobody(seen: Seen) -> Caller:
    """Whoever calls what needs no signature: it has no account, no name and no rights."""
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


@value
class RequestFacts:
    """How a request arrived. Everything here is measured by the server, or marked unverified by its name."""

    request_id: str
    received_at: int  # ms
    operation: str  # "sts:AssumeRole", "iam:CreateRole", "daypass:CreateAccount"; "" while unknown
    source_ip: str
    user_agent: str
    trace_id: str = ""
    region: str = ""
    referer: str = ""
    secure_transport: bool = False
