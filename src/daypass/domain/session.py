"""Sessions: what is sealed into a token, how it chains, and which revocations end it.

This module is pure. Formats here are hard to change later: tokens outlive the process that made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from daypass.domain.directory import Tags


class SessionKind(StrEnum):
    """Which operation made the session; sealed as its value."""

    ROLE = "role"  # AssumeRole and everything that ends like it
    USER = "user"  # GetSessionToken
    FEDERATED = "federated"  # GetFederationToken


class Seen(NamedTuple):
    """What the issuer knew: the database incarnation and the change-feed position, read before the directory."""

    incarnation: str
    position: int


class Hop(NamedTuple):
    """One link of the chain of custody, from the original principal to the session itself.

    The first hop is the original principal: its `session_id` is empty unless it was itself a session, and
    `access_key_id` is the key it signed with. Every later hop is a session, with `access_key_id` its ASIA id.
    """

    session_id: str  # 32 hex digits, or ""
    account: str
    principal_id: str  # AIDA…, AROA…, account id of a root, ACCOUNT:NAME of a federated user
    issued_at: int  # ms; of a hop that is no session, when the request was authenticated
    seen: Seen
    access_key_id: str
    name: str = ""  # role session name, user name or federated user name


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """Everything that a session is: sealed into its token, opened with no database read.

    `hops` ends with the session's own hop. `policies` are the inline session policies, oldest first: the one of
    AssumeRole or GetFederationToken, then up to three scope-downs (GetScopedCredentials); each narrows on its
    own. `policy_hashes` are managed session policies by content hash; together with the first inline policy they
    are one layer (their union), as AWS has it.
    """

    kind: SessionKind
    session_id: str
    account: str
    principal_id: str  # role id, user id, or ACCOUNT:NAME of a federated user
    arn: str  # role ARN for ROLE; user ARN (or root ARN) for USER; the *calling user's* ARN for FEDERATED
    name: str  # role session name; user name; federated user name
    issued_at: int  # ms
    expires_at: int  # ms
    seen: Seen
    hops: tuple[Hop, ...]
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    mfa_at: int = 0  # ms; 0 when no MFA vouches for this session
    policies: tuple[str, ...] = ()
    base_policy: bool = False  # whether policies[0] is the session policy of the issuing call (else all are scope-downs)
    policy_hashes: tuple[str, ...] = ()
    user_id: str = ""  # FEDERATED: unique id of the user (or account id of the root) whose permissions bound it
    grant_id: str = ""
    binding: str = ""
    status_index: int = -1
    derivation_key: str = ""  # the derivation-ring key from which the secret comes
    auth_method: str = ""  # how the first hop proved itself: sigv4, oidc, saml, x509
    description: str = ""  # ScopedSessionDescription
