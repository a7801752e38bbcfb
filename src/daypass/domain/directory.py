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
    `settings` is JSON text of what Daypass adds (see `domain.provider_settings`); "{}" for none.
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

    id: str  # ASPR…, 22 characters: AWS's SAMLProviderUUID
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
class TrustAnchor:
    """A certification authority whose certificates an account takes as proof (Roles Anywhere API, TrustAnchorDetail).

    `notifications` are the settings that differ from the defaults: (event, channel, "true" | "false", threshold in days).
    """

    id: str  # UUID
    account: str
    region: str  # of the call that made it; part of the ARN and of nothing else
    name: str
    created_at: int
    updated_at: int
    certificates: str  # PEM, one or more
    enabled: bool = False
    notifications: tuple[tuple[str, str, str, str], ...] = ()
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:rolesanywhere:{self.region}:{self.account}:trust-anchor/{self.id}"


@dataclass(frozen=True, slots=True)
class X509Profile:
    """Which roles certificates may be exchanged for, and how (Roles Anywhere API, ProfileDetail).

    `mappings` say what of a certificate becomes a session tag: (certificate field, specifier).
    """

    id: str  # UUID
    account: str
    region: str
    name: str
    created_at: int
    updated_at: int
    created_by: str  # ARN of the caller
    enabled: bool = False
    role_arns: tuple[str, ...] = ()
    managed_policy_arns: tuple[str, ...] = ()
    session_policy: str = ""
    duration_seconds: int = 3600
    require_instance_properties: bool = False
    accept_role_session_name: bool = False
    mappings: tuple[tuple[str, str], ...] = ()
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:rolesanywhere:{self.region}:{self.account}:profile/{self.id}"


@dataclass(frozen=True, slots=True)
class Crl:
    """A certificate revocation list of a trust anchor's authority (Roles Anywhere API, CrlDetail)."""

    id: str  # UUID
    account: str
    region: str
    name: str
    created_at: int
    updated_at: int
    trust_anchor_id: str
    data: bytes  # PEM, as it was imported
    enabled: bool = False
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:rolesanywhere:{self.region}:{self.account}:crl/{self.id}"


@dataclass(frozen=True, slots=True)
class X509Subject:
    """Who has come with certificates of this subject (Roles Anywhere API, SubjectDetail). Never on the change feed.

    `credentials` and `instance_properties` are JSON lists, the newest first, of what `operations.rolesanywhere` keeps.
    """

    id: str  # UUID made of account and subject, so that it is known without a look-up
    account: str
    region: str
    x509_subject: str  # RFC 4514
    created_at: int
    updated_at: int
    last_seen_at: int
    enabled: bool = True
    credentials: str = "[]"
    instance_properties: str = "[]"
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:rolesanywhere:{self.region}:{self.account}:subject/{self.id}"


@dataclass(frozen=True, slots=True)
class IssuerKeySet:
    """The keys of an issuer as they were last fetched, so that a restart while it is away goes on. Never on the feed.

    `source` is a digest of where they come from and by which rules; `account` is "" where accounts may share them.
    """

    source: str
    account: str
    url: str  # what was fetched, for people
    jwks: str  # public keys alone, canonical JSON
    fetched_at: int  # ms
    sequence: int = 0  # spiffe_sequence of a trust bundle
    claimed_at: int = 0  # ms; when a process last began to look for a key that none had


@dataclass(frozen=True, slots=True)
class IssuerAllowList:
    """The only issuers that an account may trust, each a provider's url or, ending in `/*`, all below a path."""

    account: str
    issuers: tuple[str, ...]
    updated_at: int


@dataclass(frozen=True, slots=True)
class MfaDevice:
    """A virtual MFA device (IAM API, VirtualMFADevice). `owner_id` is a user's id, or the account id for the root's.

    Wrong codes are counted here, where every process sees them, until `locked_until` (ms) no code is looked at.
    """

    account: str
    serial: str  # its ARN
    name: str
    path: str
    created_at: int
    sealed_seed: bytes  # by the storage ring; account, owner and serial are its associated data
    owner_id: str | None = None
    enabled_at: int | None = None
    drift: int = 0  # steps that the device's clock is ahead of ours
    failures: int = 0  # wrong codes since the last right one or the last lock
    locked_until: int = 0
    tags: Tags = ()
    paired_step: int = 0  # that of the later code of the last two that it was enabled or synchronised with


@dataclass(frozen=True, slots=True)
class LastUse:
    """When somebody, or a long-term key, last called something. Kept to the minute (`audit.usage`). Never on the feed.

    `subject` is a user's or role's unique id, the account id of a root, or the id of a long-term key. `operation` is
    "iam:CreateRole"; of a key it is the service alone.
    """

    subject: str
    operation: str
    account: str
    at: int
    region: str


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """The newest credential report of an account: its CSV, deflated. Never on the feed."""

    account: str
    created_at: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class AccessReport:
    """A job of GenerateServiceLastAccessedDetails with what it found, frozen (JSON, deflated). Never on the feed."""

    id: str  # a UUID: the JobId
    account: str
    owner_id: str  # the unique id of who asked: nobody else gets it
    arn: str  # of a user, group, role or managed policy
    granularity: str  # SERVICE_LEVEL | ACTION_LEVEL
    created_at: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class OutboundFederation:
    """Whether an account has its identities vouched for to others (outbound web identity federation), and as whom.

    It stays when the feature is switched off: the account has the same issuer when it is switched on again.
    """

    account: str
    issuer_id: str  # a UUID: what tells this account's issuer from others
    enabled: bool
    changed_at: int


@dataclass(frozen=True, slots=True)
class InstanceProfile:
    """A container for at most one role, by which AWS's tools name a role for a machine (IAM API, InstanceProfile)."""

    id: str  # AIPA…
    account: str
    name: str
    path: str
    created_at: int
    role_id: str | None = None
    tags: Tags = ()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:instance-profile{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class AccountAlias:
    """The one friendly name that an account may have, unique over the installation."""

    alias: str
    account: str
    created_at: int


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What an account asks of its users' passwords (IAM API, PasswordPolicy). None: not set, as IAM then shows it."""

    account: str
    minimum_length: int = 6
    require_symbols: bool = False
    require_numbers: bool = False
    require_uppercase: bool = False
    require_lowercase: bool = False
    users_may_change: bool = False
    max_age_days: int | None = None
    reuse_prevention: int | None = None  # how many former passwords are refused
    hard_expiry: bool | None = None


@dataclass(frozen=True, slots=True)
class LoginProfile:
    """A user's password for the console, as a slow hash (see `operations.iam.passwords`), and its former ones."""

    user_id: str
    account: str
    created_at: int
    password_hash: str
    password_changed_at: int
    reset_required: bool = False
    max_signin_seconds: int | None = None
    former_hashes: tuple[str, ...] = ()  # newest first
    failures: int = 0  # wrong old passwords since the last right one or the last lock
    locked_until: int = 0  # ms; until then no old password is looked at


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
