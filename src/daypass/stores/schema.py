"""The tables of directory, change feed, keys and installation; `records` declares those of the audit record.

One table for each entity of `domain.directory`, one column for each of its fields. A `name_key` is the name with ASCII
letters lowered: names are unique and found without regard to case. Text sorts by code point on both databases. No
foreign keys: an entity must be removable while others still speak of it, and readers treat the missing as absent.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

from daypass.stores.metadata import metadata

String = Text().with_variant(PG_TEXT(collation="C"), "postgresql")


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, String, primary_key=key, nullable=null)


def _int(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False)


accounts = Table(
    "accounts",
    metadata,
    _text("id", key=True),
    _text("name"),
    Column("operator", Boolean, nullable=False),
    _int("created_at"),
)

users = Table(
    "users",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("name"),
    _text("name_key"),
    _text("path"),
    _int("created_at"),
    _text("boundary_arn", null=True),
    _text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "boundary_arn"),
)

groups = Table(
    "groups",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("name"),
    _text("name_key"),
    _text("path"),
    _int("created_at"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
)

memberships = Table(
    "memberships",
    metadata,
    _text("account"),
    _text("group_id", key=True),
    _text("user_id", key=True),
    _int("created_at"),
    Index(None, "user_id"),
)

roles = Table(
    "roles",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("name"),
    _text("name_key"),
    _text("path"),
    _int("created_at"),
    _text("trust_document"),
    _text("trust_bindings"),
    _text("description", null=True),
    _int("max_session_seconds"),
    _int("chained_max_seconds"),
    _text("boundary_arn", null=True),
    _text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "boundary_arn"),
)

managed_policies = Table(
    "managed_policies",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("arn"),
    _text("name"),
    _text("name_key"),
    _text("path"),
    _int("created_at"),
    _int("updated_at"),
    _int("default_version"),
    _int("latest_version"),
    _text("description", null=True),
    _text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Unique("arn"),
)

policy_versions = Table(
    "policy_versions",
    metadata,
    _text("account"),
    _text("policy_id", key=True),
    _int("version", key=True),
    _text("document"),
    _int("created_at"),
)

inline_policies = Table(
    "inline_policies",
    metadata,
    _text("account"),
    _text("owner_id", key=True),
    _text("name", key=True),
    _text("document"),
    _int("created_at"),
)

attachments = Table(
    "attachments",
    metadata,
    _text("account"),
    _text("owner_id", key=True),
    _text("policy_arn", key=True),
    _int("created_at"),
    Index(None, "policy_arn", "account"),
)

guardrails = Table(
    "guardrails",
    metadata,
    _text("account", key=True),
    _text("name", key=True),
    _text("document"),
    _int("created_at"),
)

access_keys = Table(
    "access_keys",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("owner_id"),
    _text("status"),
    Column("sealed_secret", LargeBinary, nullable=False),
    _int("created_at"),
    _int("status_changed_at"),
    Index(None, "owner_id"),
    Index(None, "account"),
)

oidc_providers = Table(
    "oidc_providers",
    metadata,
    _text("account", key=True),
    _text("url", key=True),
    _int("created_at"),
    _text("client_ids"),
    _text("thumbprints"),
    _text("tags"),
    _text("settings"),
)

saml_providers = Table(
    "saml_providers",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("name"),
    _text("name_key"),
    _int("created_at"),
    _int("valid_until"),
    _text("metadata"),
    _text("tags"),
    _text("encryption_mode", null=True),
    _text("private_keys"),
    _text("settings"),
    Unique("account", "name_key"),
)

trust_anchors = Table(
    "trust_anchors",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("region"),
    _text("name"),
    _int("created_at"),
    _int("updated_at"),
    _text("certificates"),
    Column("enabled", Boolean, nullable=False),
    _text("notifications"),
    _text("tags"),
    Index(None, "account", "id"),
)

x509_profiles = Table(
    "x509_profiles",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("region"),
    _text("name"),
    _int("created_at"),
    _int("updated_at"),
    _text("created_by"),
    Column("enabled", Boolean, nullable=False),
    _text("role_arns"),
    _text("managed_policy_arns"),
    _text("session_policy"),
    _int("duration_seconds"),
    Column("require_instance_properties", Boolean, nullable=False),
    Column("accept_role_session_name", Boolean, nullable=False),
    _text("mappings"),
    _text("tags"),
    Index(None, "account", "id"),
)

crls = Table(
    "crls",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("region"),
    _text("name"),
    _int("created_at"),
    _int("updated_at"),
    _text("trust_anchor_id"),
    Column("data", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False),
    _text("tags"),
    Index(None, "account", "id"),
    Index(None, "trust_anchor_id"),
)

x509_subjects = Table(
    "x509_subjects",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("region"),
    _text("x509_subject"),
    _int("created_at"),
    _int("updated_at"),
    _int("last_seen_at"),
    Column("enabled", Boolean, nullable=False),
    _text("credentials"),
    _text("instance_properties"),
    _text("tags"),
    Index(None, "account", "id"),
)

issuer_key_sets = Table(
    "issuer_key_sets",
    metadata,
    _text("source", key=True),
    _text("account"),
    _text("url"),
    _text("jwks"),
    _int("fetched_at"),
    _int("sequence"),
    _int("claimed_at"),
)

issuer_allow_lists = Table(
    "issuer_allow_lists",
    metadata,
    _text("account", key=True),
    _text("issuers"),
    _int("updated_at"),
)

mfa_devices = Table(
    "mfa_devices",
    metadata,
    _text("account"),
    _text("serial", key=True),
    _text("name"),
    _text("name_key"),
    _text("path"),
    _int("created_at"),
    Column("sealed_seed", LargeBinary, nullable=False),
    _text("owner_id", null=True),
    _int("enabled_at", null=True),
    _int("drift"),
    _int("failures"),
    _int("locked_until"),
    _text("tags"),
    _int("paired_step"),
    Unique("account", "path", "name_key"),
    Index(None, "owner_id"),
)

last_uses = Table(
    "last_uses",
    metadata,
    _text("subject", key=True),
    _text("operation", key=True),
    _text("account"),
    _int("at"),
    _text("region"),
)

credential_reports = Table(
    "credential_reports",
    metadata,
    _text("account", key=True),
    _int("created_at"),
    Column("deflated", LargeBinary, nullable=False),
)

access_reports = Table(
    "access_reports",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("owner_id"),
    _text("arn"),
    _text("granularity"),
    _int("created_at"),
    Column("deflated", LargeBinary, nullable=False),
    Index(None, "created_at"),
)

outbound_federations = Table(
    "outbound_federations",
    metadata,
    _text("account", key=True),
    _text("issuer_id"),
    Column("enabled", Boolean, nullable=False),
    _int("changed_at"),
)

instance_profiles = Table(
    "instance_profiles",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("name"),
    _text("name_key"),
    _text("path"),
    _int("created_at"),
    _text("role_id", null=True),
    _text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "role_id"),
)

account_aliases = Table(
    "account_aliases",
    metadata,
    _text("alias", key=True),
    _text("account"),
    _int("created_at"),
    Unique("account"),
)

password_policies = Table(
    "password_policies",
    metadata,
    _text("account", key=True),
    _int("minimum_length"),
    Column("require_symbols", Boolean, nullable=False),
    Column("require_numbers", Boolean, nullable=False),
    Column("require_uppercase", Boolean, nullable=False),
    Column("require_lowercase", Boolean, nullable=False),
    Column("users_may_change", Boolean, nullable=False),
    _int("max_age_days", null=True),
    _int("reuse_prevention", null=True),
    Column("hard_expiry", Boolean, nullable=True),
)

login_profiles = Table(
    "login_profiles",
    metadata,
    _text("user_id", key=True),
    _text("account"),
    _int("created_at"),
    _text("password_hash"),
    _int("password_changed_at"),
    Column("reset_required", Boolean, nullable=False),
    _int("max_signin_seconds", null=True),
    _text("former_hashes"),
    _int("failures"),
    _int("locked_until"),
)

redeemed = Table(
    "redeemed",
    metadata,
    _text("purpose", key=True),
    _text("id", key=True),
    _text("account"),
    _int("at"),
    _int("expires_at"),
    Index(None, "expires_at"),
)

policy_contents = Table(
    "policy_contents",
    metadata,
    _text("hash", key=True),
    _text("account"),
    _text("document"),
    _int("keep_until"),
    Index(None, "keep_until"),
)

revocations = Table(
    "revocations",
    metadata,
    _text("id", key=True),
    _text("account"),
    _text("subject"),
    _text("value"),
    _int("issued_before"),
    _int("created_at"),
    _int("position"),
    Column("block", Boolean, nullable=False),
    _int("block_until", null=True),
    _text("reason"),
    _text("created_by"),
    Index(None, "position"),
    Index(None, "account", "created_at"),
)

feed_counter = Table(
    "feed_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _int("position"),
    _int("pruned"),
    _text("incarnation"),
    CheckConstraint("id = 1", name="single_row"),
)

feed = Table(
    "feed",
    metadata,
    _int("position", key=True),
    _text("kind"),
    _text("account"),
    _text("keys"),
    _int("at"),
)

ring_keys = Table(
    "ring_keys",
    metadata,
    _text("ring", key=True),
    _text("id", key=True),
    Column("wrapped", LargeBinary, nullable=False),
    _int("not_before"),
    _int("sign_until"),
    _int("verify_until"),
    _int("created_at"),
    Unique("ring", "not_before"),
)

meta = Table(
    "meta",
    metadata,
    _text("key", key=True),
    _text("value"),
)
