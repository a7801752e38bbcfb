"""Who vouches for others: issuers of tokens, SAML providers, trust anchors, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass

from daypass.domain.directory.identities import Tags


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
class OutboundFederation:
    """Whether an account has its identities vouched for to others (outbound web identity federation), and as whom.

    It stays when the feature is switched off: the account has the same issuer when it is switched on again.
    """

    account: str
    issuer_id: str  # a UUID: what tells this account's issuer from others
    enabled: bool
    changed_at: int
