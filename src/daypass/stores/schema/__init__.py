"""The tables of directory, change feed, keys and installation; `records` declares those of the audit record.

One table for each entity of `domain.directory`, one column for each of its fields. A `name_key` is the name with ASCII
letters lowered: names are unique and found without regard to case. Text sorts by code point on both databases. There
are no foreign keys, because an entity must be removable while others still refer to it. Readers treat a missing entity
as absent.
"""

from __future__ import annotations

from daypass.stores.schema.access import (
    access_requests,
    access_reviews,
    access_votes,
    approval_rules,
    chat_links,
    grants,
    notification_channels,
    notifications,
)
from daypass.stores.schema.federation import (
    crls,
    issuer_allow_lists,
    issuer_key_sets,
    oidc_providers,
    outbound_federations,
    saml_providers,
    trust_anchors,
    x509_profiles,
    x509_subjects,
)
from daypass.stores.schema.identities import (
    access_keys,
    account_aliases,
    accounts,
    attachments,
    groups,
    guardrails,
    inline_policies,
    instance_profiles,
    login_profiles,
    managed_policies,
    memberships,
    mfa_devices,
    password_policies,
    policy_versions,
    roles,
    users,
)
from daypass.stores.schema.oauth import oauth_clients, oauth_codes, refresh_families, resource_servers
from daypass.stores.schema.scim import scim_resources, scim_tokens
from daypass.stores.schema.sign_in import browser_sessions, consents, passkeys, recovery_codes
from daypass.stores.schema.streams import event_streams, removed_subjects, security_events
from daypass.stores.schema.system import (
    access_reports,
    credential_reports,
    feed,
    feed_counter,
    last_uses,
    meta,
    nodes,
    policy_contents,
    redeemed,
    revocations,
    ring_keys,
)

__all__ = [
    "access_keys",
    "access_reports",
    "access_requests",
    "access_reviews",
    "access_votes",
    "account_aliases",
    "accounts",
    "approval_rules",
    "attachments",
    "browser_sessions",
    "chat_links",
    "consents",
    "credential_reports",
    "crls",
    "event_streams",
    "feed",
    "feed_counter",
    "grants",
    "groups",
    "guardrails",
    "inline_policies",
    "instance_profiles",
    "issuer_allow_lists",
    "issuer_key_sets",
    "last_uses",
    "login_profiles",
    "managed_policies",
    "memberships",
    "meta",
    "mfa_devices",
    "nodes",
    "notification_channels",
    "notifications",
    "oauth_clients",
    "oauth_codes",
    "oidc_providers",
    "outbound_federations",
    "passkeys",
    "password_policies",
    "policy_contents",
    "policy_versions",
    "recovery_codes",
    "redeemed",
    "refresh_families",
    "removed_subjects",
    "resource_servers",
    "revocations",
    "ring_keys",
    "roles",
    "saml_providers",
    "scim_resources",
    "scim_tokens",
    "security_events",
    "trust_anchors",
    "users",
    "x509_profiles",
    "x509_subjects",
]
