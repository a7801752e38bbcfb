"""The tables of directory, change feed, keys and installation; `records` declares those of the audit record.

One table for each entity of `domain.directory`, one column for each of its fields. A `name_key` is the name with ASCII
letters lowered: names are unique and found without regard to case. Text sorts by code point on both databases. No
foreign keys: an entity must be removable while others still speak of it, and readers treat the missing as absent.
"""

from __future__ import annotations

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
from daypass.stores.schema.system import (
    access_reports,
    credential_reports,
    feed,
    feed_counter,
    last_uses,
    meta,
    policy_contents,
    redeemed,
    revocations,
    ring_keys,
)

__all__ = [
    "access_keys",
    "access_reports",
    "account_aliases",
    "accounts",
    "attachments",
    "credential_reports",
    "crls",
    "feed",
    "feed_counter",
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
    "oidc_providers",
    "outbound_federations",
    "password_policies",
    "policy_contents",
    "policy_versions",
    "redeemed",
    "revocations",
    "ring_keys",
    "roles",
    "saml_providers",
    "trust_anchors",
    "users",
    "x509_profiles",
    "x509_subjects",
]
