"""What the directory holds: accounts, principals, policies and keys, as frozen values.

Each entity is stored as it stands here, one table for each class, one column for each field. Documents keep
the exact text that was written, because IAM echoes it unchanged. Times are milliseconds since the epoch, UTC.
Unique ids (AIDA…, AROA…, AGPA…, ANPA…) are never reused: they, not names, are what trust and revocation bind to.
"""

from __future__ import annotations

from daypass.domain.directory.facts import AccessReport, CredentialReport, LastUse, PolicyContent, Redeemed, Revocation
from daypass.domain.directory.federation import (
    Crl,
    IssuerAllowList,
    IssuerKeySet,
    OidcProvider,
    OutboundFederation,
    SamlProvider,
    TrustAnchor,
    X509Profile,
    X509Subject,
)
from daypass.domain.directory.identities import (
    AccessKey,
    Account,
    AccountAlias,
    Attachment,
    Group,
    Guardrail,
    InlinePolicy,
    InstanceProfile,
    KeyStatus,
    LoginProfile,
    ManagedPolicy,
    Membership,
    MfaDevice,
    PasswordPolicy,
    PolicyVersion,
    Role,
    Tags,
    User,
)

__all__ = [
    "AccessKey",
    "AccessReport",
    "Account",
    "AccountAlias",
    "Attachment",
    "CredentialReport",
    "Crl",
    "Group",
    "Guardrail",
    "InlinePolicy",
    "InstanceProfile",
    "IssuerAllowList",
    "IssuerKeySet",
    "KeyStatus",
    "LastUse",
    "LoginProfile",
    "ManagedPolicy",
    "Membership",
    "MfaDevice",
    "OidcProvider",
    "OutboundFederation",
    "PasswordPolicy",
    "PolicyContent",
    "PolicyVersion",
    "Redeemed",
    "Revocation",
    "Role",
    "SamlProvider",
    "Tags",
    "TrustAnchor",
    "User",
    "X509Profile",
    "X509Subject",
]
