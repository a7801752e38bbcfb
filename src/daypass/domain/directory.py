"""What the directory holds: accounts, principals, policies and keys, as frozen values.

Each entity is stored as it stands here, one table for each class, one column for each field. Documents keep
the exact text that was written, because IAM echoes it unchanged. Times are milliseconds since the epoch, UTC.
Unique ids (AIDA…, AROA…, AGPA…, ANPA…) are never reused: they, not names, are what trust and revocation bind to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Tags: TypeAlias = tuple[tuple[str, str], ...]
"""Tag keys and values in the order in which they were written; keys are unique without regard to case."""


class KeyStatus(StrEnum):
    """The Status of an access key (IAM API, AccessKey)."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. `operator` marks the account whose principals may be allowed to manage the installation."""

    id: str  # 12 digits
    name: str
    operator: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class User:
    id: str  # AIDA…, 21 characters
    account: str
    name: str
    path: str
    created_at: int
    boundary_arn: str | None = None
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:user{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class Group:
    id: str  # AGPA…
    account: str
    name: str
    path: str
    created_at: int

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:group{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class Membership:
    account: str
    group_id: str
    user_id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Role:
    """A role. `trust_bindings` maps each principal ARN of the trust policy to the unique id that it had when written."""

    id: str  # AROA…
    account: str
    name: str
    path: str
    created_at: int
    trust_document: str
    trust_bindings: tuple[tuple[str, str], ...] = ()
    description: str | None = None
    max_session_seconds: int = 3600
    chained_max_seconds: int = 3600  # ours: a role may raise the hour cap of chained sessions
    boundary_arn: str | None = None
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A customer-managed policy, or (account "aws") one that comes with Daypass."""

    id: str  # ANPA…
    account: str
    arn: str
    name: str
    path: str
    created_at: int
    updated_at: int
    default_version: int = 1
    latest_version: int = 1  # the highest number ever given; numbers are never reused
    description: str | None = None
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    account: str
    policy_id: str
    version: int  # shown as v<version>
    document: str
    created_at: int


@dataclass(frozen=True, slots=True)
class InlinePolicy:
    account: str
    owner_id: str  # id of a user, group or role
    name: str
    document: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A managed policy attached to a user, group or role."""

    account: str
    owner_id: str
    policy_arn: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A policy that bounds every principal of an account, root included (the place of AWS's SCPs)."""

    account: str
    name: str
    document: str
    created_at: int


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-term key. `owner_id` is a user's id, or the account id for a root key."""

    id: str  # AKIA…, or any id that AWS's accessKeyIdType allows
    account: str
    owner_id: str
    status: KeyStatus
    sealed_secret: bytes  # by the storage ring; account and owner id are its associated data
    created_at: int
    status_changed_at: int


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An issuer of tokens that an account trusts (IAM API, CreateOpenIDConnectProvider).

    `url` is the issuer without its `https://`, exactly as written otherwise: tokens must name exactly it (attack A23).
    `settings` is JSON text of what Daypass adds (see `federation.settings`); "{}" for none.
    """

    account: str
    url: str
    created_at: int
    client_ids: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()
    tags: Tags = ()
    settings: str = "{}"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:oidc-provider/{self.url}"


@dataclass(frozen=True, slots=True)
class SamlProvider:
    """A SAML identity provider that an account trusts (IAM API, CreateSAMLProvider).

    `metadata` is the provider's metadata document, echoed unchanged. `private_keys` are those that decrypt its
    assertions: (key id, time added in ms as text, key sealed by the storage ring, in base64), at most two.
    """

    id: str  # ASPR…, 21 characters: AWS's SAMLProviderUUID
    account: str
    name: str
    created_at: int
    valid_until: int  # ms; what the metadata says, or a hundred years from its upload
    metadata: str
    tags: Tags = ()
    encryption_mode: str | None = None  # Required | Allowed
    private_keys: tuple[tuple[str, str, str], ...] = ()
    settings: str = "{}"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:saml-provider/{self.name}"


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A one-time thing that has been used: whoever inserts it first has redeemed it. Never on the change feed.

    `purpose` and `id` are unique together; `id` is a digest where the thing itself is long or secret.
    """

    purpose: str  # "jwt" | "saml" | "totp" | …
    id: str
    account: str
    at: int
    expires_at: int  # ms; after this the thing is refused for its age, so this may be forgotten


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """The text of a managed session policy as it was when a session was issued, by its SHA-256 in hex.

    Kept until the last session that names it expires: a missing content means deny, so that a later edit of
    the managed policy can never widen a session.
    """

    hash: str
    account: str
    document: str
    keep_until: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A fact that kills sessions. See `domain.session.revoked_by`.

    `subject` is one of session | role | principal | access_key | source_identity | grant | account. `position`
    is its place in the change feed, given by the store. A session dies if any hop of it matches and either its
    `seen` precedes `position` or its issue time precedes `issued_before`. With `block` (until `block_until`, if
    given) the subject gets no new sessions either.
    """

    id: str
    account: str  # the owning account
    subject: str
    value: str
    issued_before: int
    created_at: int
    position: int = 0
    block: bool = False
    block_until: int | None = None
    reason: str = ""
    created_by: str = ""
