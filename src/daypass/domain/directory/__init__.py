"""The entities of the directory: accounts, principals, policies and keys, as frozen values.

Each class has one table, and each field one column. Documents keep the exact text that was written, because IAM returns
it unchanged. Times are milliseconds since the epoch, UTC.
Unique ids (AIDA…, AROA…, AGPA…, ANPA…) are never reused. Trust and revocation use them rather than names.
"""

from __future__ import annotations

from daypass.domain.directory.access import (
    AccessRequest,
    AccessReview,
    AccessVote,
    ApprovalRule,
    ChatLink,
    Grant,
    Notification,
    NotificationChannel,
    RequestState,
)
from daypass.domain.directory.facts import (
    AccessReport,
    CredentialReport,
    LastUse,
    PolicyContent,
    ReplayEntry,
    Revocation,
)
from daypass.domain.directory.federation import (
    Crl,
    IssuerAllowList,
    IssuerKeySet,
    OidcProvider,
    OutboundFederation,
    PodIdentityAssociation,
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
from daypass.domain.directory.oauth import (
    OAuthClient,
    OAuthCode,
    RefreshFamily,
    ResourceServer,
    ScimResource,
    ScimToken,
)
from daypass.domain.directory.sign_in import (
    BrowserSession,
    Consent,
    EventStream,
    Passkey,
    RecoveryCode,
    RemovedSubject,
    SecurityEvent,
)
