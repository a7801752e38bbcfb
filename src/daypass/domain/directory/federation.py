"""Identity sources of an account: token issuers, SAML providers, trust anchors, and the state stored for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from daypass.domain.directory.identities import Tags


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An issuer of tokens that an account trusts (IAM API, CreateOpenIDConnectProvider).

    `url` is the issuer without `https://`, otherwise exactly as written: a token must name exactly this issuer (attack
    A23). `settings` is the JSON text of Daypass's own settings (see `domain.provider_settings`); "{}" for none.
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
class PodIdentityAssociation:
    """The role of a Kubernetes service account (EKS API, PodIdentityAssociation).

    `subject` is "cluster/namespace/service-account"; `issuer` the URL of the cluster's OIDC provider, without `https://`.
    """

    account: str
    subject: str
    id: str  # a-…, as AWS's
    role_arn: str
    issuer: str
    created_at: int


@dataclass(frozen=True, slots=True)
class SamlProvider:
    """A SAML identity provider that an account trusts (IAM API, CreateSAMLProvider).

    `metadata` is the provider's metadata document, returned unchanged. `private_keys` decrypt its assertions:
    (key id, time added in ms as text, key sealed by the storage ring, in base64), at most two.
    """

    id: str  # ASPR…, 22 characters: AWS's SAMLProviderUUID
    account: str
    name: str
    created_at: int
    valid_until: int  # ms; from the metadata, or a hundred years after the upload
    metadata: str
    tags: Tags = ()
    encryption_mode: str | None = None  # Required | Allowed
    private_keys: tuple[tuple[str, str, str], ...] = ()
    settings: str = "{}"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:saml-provider/{self.name}"


@dataclass(frozen=True, slots=True)
class Anywhere:
    """What trust anchors, profiles and CRLs have. `kind`: of the resource in their ARNs."""

    kind: ClassVar[str]

    id: str  # UUID
    account: str
    region: str  # region of the request that created it; used only in the ARN
    name: str
    created_at: int
    updated_at: int

    @property
    def arn(self) -> str:
        return f"arn:aws:rolesanywhere:{self.region}:{self.account}:{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class TrustAnchor(Anywhere):
    """A certification authority whose certificates an account accepts (Roles Anywhere API, TrustAnchorDetail).

    `notifications` are the settings that differ from the defaults: (event, channel, "true" | "false", threshold in
    days).
    """

    kind: ClassVar = "trust-anchor"

    certificates: str  # PEM, one or more
    enabled: bool = False
    notifications: tuple[tuple[str, str, str, str], ...] = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class X509Profile(Anywhere):
    """Which roles certificates may be exchanged for, and how (Roles Anywhere API, ProfileDetail).

    `mappings` define which parts of a certificate become session tags: (certificate field, specifier).
    """

    kind: ClassVar = "profile"

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


@dataclass(frozen=True, slots=True)
class Crl(Anywhere):
    """A certificate revocation list of a trust anchor's authority (Roles Anywhere API, CrlDetail)."""

    kind: ClassVar = "crl"

    trust_anchor_id: str
    data: bytes  # PEM, as imported
    enabled: bool = False
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class X509Subject:
    """The use of certificates with this subject (Roles Anywhere API, SubjectDetail). Never on the change feed.

    `credentials` and `instance_properties` are JSON lists, newest first (see `operations.rolesanywhere`).
    """

    id: str  # UUID derived from account and subject, so that no look-up is needed
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
    """The keys of an issuer as last fetched, for a restart while the issuer is unavailable. Never on the feed.

    `source` is a digest of where the keys come from and by which rules; `account` is "" when accounts may share them.
    """

    source: str
    account: str
    url: str  # the source of the keys, for people
    jwks: str  # public keys only, canonical JSON
    fetched_at: int  # ms
    sequence: int = 0  # spiffe_sequence of a trust bundle
    claimed_at: int = 0  # ms; when a process last started a fetch for an unknown key id


@dataclass(frozen=True, slots=True)
class IssuerAllowList:
    """The only issuers that an account may trust: provider urls, or prefixes ending in `/*` for all urls below a path."""

    account: str
    issuers: tuple[str, ...]
    updated_at: int


@dataclass(frozen=True, slots=True)
class OutboundFederation:
    """The outbound web identity federation of an account: whether it is enabled, and the account's issuer.

    It is kept when the feature is disabled: the account has the same issuer when it is enabled again.
    """

    account: str
    issuer_id: str  # a UUID that makes the account's issuer unique
    enabled: bool
    changed_at: int
