"""The tables of accounts and of their principals and policies."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table
from sqlalchemy import UniqueConstraint as Unique

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

accounts = Table(
    "accounts",
    metadata,
    text("id", key=True),
    text("name"),
    Column("operator", Boolean, nullable=False),
    integer("created_at"),
)

users = Table(
    "users",
    metadata,
    text("id", key=True),
    text("account"),
    text("name"),
    text("name_key"),
    text("path"),
    integer("created_at"),
    text("boundary_arn", null=True),
    text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "boundary_arn"),
)

groups = Table(
    "groups",
    metadata,
    text("id", key=True),
    text("account"),
    text("name"),
    text("name_key"),
    text("path"),
    integer("created_at"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
)

memberships = Table(
    "memberships",
    metadata,
    text("account"),
    text("group_id", key=True),
    text("user_id", key=True),
    integer("created_at"),
    Index(None, "user_id"),
)

roles = Table(
    "roles",
    metadata,
    text("id", key=True),
    text("account"),
    text("name"),
    text("name_key"),
    text("path"),
    integer("created_at"),
    text("trust_document"),
    text("trust_bindings"),
    text("description", null=True),
    integer("max_session_seconds"),
    integer("chained_max_seconds"),
    text("boundary_arn", null=True),
    text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "boundary_arn"),
)

managed_policies = Table(
    "managed_policies",
    metadata,
    text("id", key=True),
    text("account"),
    text("arn"),
    text("name"),
    text("name_key"),
    text("path"),
    integer("created_at"),
    integer("updated_at"),
    integer("default_version"),
    integer("latest_version"),
    text("description", null=True),
    text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Unique("arn"),
)

policy_versions = Table(
    "policy_versions",
    metadata,
    text("account"),
    text("policy_id", key=True),
    integer("version", key=True),
    text("document"),
    integer("created_at"),
)

inline_policies = Table(
    "inline_policies",
    metadata,
    text("account"),
    text("owner_id", key=True),
    text("name", key=True),
    text("document"),
    integer("created_at"),
)

attachments = Table(
    "attachments",
    metadata,
    text("account"),
    text("owner_id", key=True),
    text("policy_arn", key=True),
    integer("created_at"),
    Index(None, "policy_arn", "account"),
)

guardrails = Table(
    "guardrails",
    metadata,
    text("account", key=True),
    text("name", key=True),
    text("document"),
    integer("created_at"),
)

access_keys = Table(
    "access_keys",
    metadata,
    text("id", key=True),
    text("account"),
    text("owner_id"),
    text("status"),
    Column("sealed_secret", LargeBinary, nullable=False),
    integer("created_at"),
    integer("status_changed_at"),
    Index(None, "owner_id"),
    Index(None, "account"),
)

mfa_devices = Table(
    "mfa_devices",
    metadata,
    text("account"),
    text("serial", key=True),
    text("name"),
    text("name_key"),
    text("path"),
    integer("created_at"),
    Column("sealed_seed", LargeBinary, nullable=False),
    text("owner_id", null=True),
    integer("enabled_at", null=True),
    integer("drift"),
    integer("failures"),
    integer("locked_until"),
    text("tags"),
    integer("paired_step"),
    Unique("account", "path", "name_key"),
    Index(None, "owner_id"),
)

instance_profiles = Table(
    "instance_profiles",
    metadata,
    text("id", key=True),
    text("account"),
    text("name"),
    text("name_key"),
    text("path"),
    integer("created_at"),
    text("role_id", null=True),
    text("tags"),
    Unique("account", "name_key"),
    Index(None, "account", "path"),
    Index(None, "role_id"),
)

account_aliases = Table(
    "account_aliases",
    metadata,
    text("alias", key=True),
    text("account"),
    integer("created_at"),
    Unique("account"),
)

password_policies = Table(
    "password_policies",
    metadata,
    text("account", key=True),
    integer("minimum_length"),
    Column("require_symbols", Boolean, nullable=False),
    Column("require_numbers", Boolean, nullable=False),
    Column("require_uppercase", Boolean, nullable=False),
    Column("require_lowercase", Boolean, nullable=False),
    Column("users_may_change", Boolean, nullable=False),
    integer("max_age_days", null=True),
    integer("reuse_prevention", null=True),
    Column("hard_expiry", Boolean, nullable=True),
)

login_profiles = Table(
    "login_profiles",
    metadata,
    text("user_id", key=True),
    text("account"),
    integer("created_at"),
    text("password_hash"),
    integer("password_changed_at"),
    Column("reset_required", Boolean, nullable=False),
    integer("max_signin_seconds", null=True),
    text("former_hashes"),
    integer("failures"),
    integer("locked_until"),
)
