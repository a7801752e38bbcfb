"""The tables of accounts and of their principals and policies."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy import UniqueConstraint as Unique

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table, text

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
