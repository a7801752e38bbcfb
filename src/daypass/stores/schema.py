"""The tables of directory, change feed, keys and installation; `records` declares those of the audit record.

One table for each entity of `domain.directory`, one column for each of its fields. A `name_key` is the name with ASCII
letters lowered: names are unique and found without regard to case. Text sorts by code point on both databases. There
are no foreign keys, because others may still refer to an entity that is removed. Readers treat a missing entity
as absent.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy import text as sql

from daypass.domain import directory as d
from daypass.ports.ring_keys import StoredKey
from daypass.stores.columns import entity_table, integer, metadata, text

# --- Accounts, principals and policies

accounts = entity_table("accounts", d.Account, "id")

users = entity_table(
    "users",
    d.User,
    "id",
    text("name_key"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "boundary_arn"),
)

groups = entity_table(
    "groups", d.Group, "id", text("name_key"), Unique("account", "name_key"), Index(None, "account", "path")
)

memberships = entity_table("memberships", d.Membership, "group_id user_id", Index(None, "user_id"))

roles = entity_table(
    "roles",
    d.Role,
    "id",
    text("name_key"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "boundary_arn"),
)

managed_policies = entity_table(
    "managed_policies",
    d.ManagedPolicy,
    "id",
    text("name_key"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Unique("arn"),
)

policy_versions = entity_table("policy_versions", d.PolicyVersion, "policy_id version")

inline_policies = entity_table("inline_policies", d.InlinePolicy, "owner_id name")

attachments = entity_table("attachments", d.Attachment, "owner_id policy_arn", Index(None, "policy_arn", "account"))

guardrails = entity_table("guardrails", d.Guardrail, "account name")

access_keys = entity_table("access_keys", d.AccessKey, "id", Index(None, "owner_id"), Index(None, "account"))

mfa_devices = entity_table(
    "mfa_devices",
    d.MfaDevice,
    "serial",
    text("name_key"),
    Unique("account", "path", "name_key"),
    Index(None, "owner_id"),
)

instance_profiles = entity_table(
    "instance_profiles",
    d.InstanceProfile,
    "id",
    text("name_key"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "role_id"),
)

account_aliases = entity_table("account_aliases", d.AccountAlias, "alias", Unique("account"))

password_policies = entity_table("password_policies", d.PasswordPolicy, "account")

login_profiles = entity_table("login_profiles", d.LoginProfile, "user_id")

# --- Identity providers and trust anchors

oidc_providers = entity_table("oidc_providers", d.OidcProvider, "account url")

saml_providers = entity_table("saml_providers", d.SamlProvider, "id", text("name_key"), Unique("account", "name_key"))

trust_anchors = entity_table("trust_anchors", d.TrustAnchor, "id", Index(None, "account", "id"))

x509_profiles = entity_table("x509_profiles", d.X509Profile, "id", Index(None, "account", "id"))

crls = entity_table("crls", d.Crl, "id", Index(None, "account", "id"), Index(None, "trust_anchor_id"))

x509_subjects = entity_table("x509_subjects", d.X509Subject, "id", Index(None, "account", "id"))

issuer_key_sets = entity_table("issuer_key_sets", d.IssuerKeySet, "source")

issuer_allow_lists = entity_table("issuer_allow_lists", d.IssuerAllowList, "account")

outbound_federations = entity_table("outbound_federations", d.OutboundFederation, "account")

# --- OAuth

oauth_clients = entity_table("oauth_clients", d.OAuthClient, "id", Index(None, "account", "id"))

resource_servers = entity_table("resource_servers", d.ResourceServer, "account identifier")

oauth_codes = entity_table("oauth_codes", d.OAuthCode, "purpose id", Index(None, "expires_at"))

refresh_families = entity_table(
    "refresh_families",
    d.RefreshFamily,
    "id",
    Index(None, "expires_at"),
    Index(None, "account", "id"),
    Index(
        None,
        "consent_id",
        sqlite_where=sql("consent_id IS NOT NULL"),
        postgresql_where=sql("consent_id IS NOT NULL"),
    ),
)

# --- Sign-in by browser

browser_sessions = entity_table(
    "browser_sessions", d.BrowserSession, "id", Index(None, "account", "principal_id"), Index(None, "expires_at")
)

passkeys = entity_table("passkeys", d.Passkey, "id", Index(None, "user_id", "name", unique=True))

recovery_codes = entity_table("recovery_codes", d.RecoveryCode, "user_id digest")

consents = entity_table("consents", d.Consent, "id", Index(None, "account", "person_id"), Index(None, "expires_at"))

# --- SCIM

scim_tokens = entity_table("scim_tokens", d.ScimToken, "id", Index(None, "account", "name", unique=True))

scim_resources = entity_table(
    "scim_resources",
    d.ScimResource,
    "id",
    Index(None, "account", "resource_type", "id"),
    Index(None, "account", "resource_type", "external_id"),
)

# --- Access requests, grants and notifications

approval_rules = entity_table("approval_rules", d.ApprovalRule, "account name")

access_requests = entity_table(
    "access_requests",
    d.AccessRequest,
    "id",
    Unique("account", "requester_id", "client_token"),
    Index(None, "account", "state", "id"),
    Index(None, "state", "deadline"),
    Index(None, "beneficiary_id", "id"),
)

access_votes = entity_table("access_votes", d.AccessVote, "request_id approver_id")

grants = entity_table(
    "grants",
    d.Grant,
    "id",
    Index(None, "role_id", "ended_at"),
    Index(None, "request_id"),
    Index(None, "ended_at", "account"),
    Index(None, "ended_at", "ends_at"),
    Index(None, "ended_at", "claimed_at", "claim_by"),
    Index(None, "ended_at", "id"),
    Index(None, "account", "id"),
)

access_reviews = entity_table("access_reviews", d.AccessReview, "id", Index(None, "account", "closed_at", "id"))

notification_channels = entity_table("notification_channels", d.NotificationChannel, "account name")

chat_links = entity_table("chat_links", d.ChatLink, "account id", Index(None, "user_id", "id"))

notifications = entity_table(
    "notifications",
    d.Notification,
    "id",
    Index(None, "outcome", "next_at"),
    Index(None, "outcome", "account", "next_at"),
    Index(None, "account", "id"),
)

# --- Event streams

event_streams = entity_table("event_streams", d.EventStream, "id", Index(None, "account", "id"), Index(None, "next_at"))

removed_subjects = entity_table("removed_subjects", d.RemovedSubject, "stream_id digest")

security_events = entity_table("security_events", d.SecurityEvent, "id", Index(None, "stream_id", "outcome", "id"))

# --- Last uses, one-time items, revocations, the change feed, keys and the installation

last_uses = entity_table("last_uses", d.LastUse, "subject operation")

credential_reports = entity_table("credential_reports", d.CredentialReport, "account")

access_reports = entity_table("access_reports", d.AccessReport, "id", Index(None, "created_at"))

redeemed = entity_table("redeemed", d.ReplayEntry, "purpose id", Index(None, "expires_at"))

policy_contents = entity_table("policy_contents", d.PolicyContent, "hash", Index(None, "keep_until"))

revocations = entity_table(
    "revocations", d.Revocation, "id", Index(None, "position"), Index(None, "account", "created_at")
)

feed_counter = Table(
    "feed_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    integer("position"),
    integer("pruned"),
    text("incarnation"),  # the database epoch; servers of release 0.1, which run beside newer ones, read this name
    CheckConstraint("id = 1", name="single_row"),
)

feed = Table(
    "feed",
    metadata,
    integer("position", key=True),
    text("kind"),
    text("account"),
    text("keys"),
    integer("at"),
)

ring_keys = entity_table("ring_keys", StoredKey, "ring id", Unique("ring", "not_before"))

meta = Table(
    "meta",
    metadata,
    text("key", key=True),
    text("value"),
)

nodes = Table(
    "nodes",
    metadata,
    text("id", key=True),  # the first log of the process
    text("name"),
    integer("started_at"),
    integer("seen_at"),
)
