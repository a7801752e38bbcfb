"""The first schema. It is written out here and does not use `schema` or `records`, because a released migration never
changes.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from daypass.stores.migrations.definitions import create_index, create_table, unique_of

revision = "0001"
down_revision = None

# name, primary key, columns as name:type[:null]
_TABLES = (
    (
        "accounts",
        "id",
        ("id:text name:text operator:bool created_at:int"),
    ),
    (
        "users",
        "id",
        ("id:text account:text name:text name_key:text path:text created_at:int boundary_arn:text:null tags:text"),
    ),
    (
        "groups",
        "id",
        ("id:text account:text name:text name_key:text path:text created_at:int"),
    ),
    (
        "memberships",
        "group_id user_id",
        ("account:text group_id:text user_id:text created_at:int"),
    ),
    (
        "roles",
        "id",
        (
            "id:text account:text name:text name_key:text path:text created_at:int trust_document:text "
            "trust_bindings:text description:text:null max_session_seconds:int chained_max_seconds:int "
            "boundary_arn:text:null tags:text"
        ),
    ),
    (
        "managed_policies",
        "id",
        (
            "id:text account:text arn:text name:text name_key:text path:text created_at:int updated_at:int "
            "default_version:int latest_version:int description:text:null tags:text"
        ),
    ),
    (
        "policy_versions",
        "policy_id version",
        ("account:text policy_id:text version:int document:text created_at:int"),
    ),
    (
        "inline_policies",
        "owner_id name",
        ("account:text owner_id:text name:text document:text created_at:int"),
    ),
    (
        "attachments",
        "owner_id policy_arn",
        ("account:text owner_id:text policy_arn:text created_at:int"),
    ),
    (
        "guardrails",
        "account name",
        ("account:text name:text document:text created_at:int"),
    ),
    (
        "access_keys",
        "id",
        ("id:text account:text owner_id:text status:text sealed_secret:bytes created_at:int status_changed_at:int"),
    ),
    (
        "policy_contents",
        "hash",
        ("hash:text account:text document:text keep_until:int"),
    ),
    (
        "revocations",
        "id",
        (
            "id:text account:text subject:text value:text issued_before:int created_at:int position:int "
            "block:bool block_until:int:null reason:text created_by:text"
        ),
    ),
    (
        "feed_counter",
        "id",
        ("id:small position:int pruned:int incarnation:text"),
    ),
    (
        "feed",
        "position",
        ("position:int kind:text account:text keys:text at:int"),
    ),
    (
        "ring_keys",
        "ring id",
        ("ring:text id:text wrapped:bytes not_before:int sign_until:int verify_until:int created_at:int"),
    ),
    (
        "meta",
        "key",
        ("key:text value:text"),
    ),
    (
        "audit_logs",
        "log",
        ("log:text installation:text node:text opened_at:int named_seq:int"),
    ),
    (
        "audit_records",
        "log seq",
        (
            "log:text seq:int at:int type:text account:text actor_account:text operation:text request_id:text "
            "session_id:text access_key_id:text error:text bytes:bytes leaf:bytes chain:bytes"
        ),
    ),
    (
        "sessions",
        "session_id",
        (
            "session_id:text log:text seq:int account:text kind:text access_key_id:text principal_id:text "
            "arn:text name:text issued_at:int expires_at:int parent_session_id:text root_principal_id:text "
            "root_access_key_id:text user_id:text source_identity:text grant_id:text depth:small hops:bytes"
        ),
    ),
)

# table, columns
_UNIQUES = (
    ("groups", "account", "name_key"),
    ("managed_policies", "account", "name_key"),
    ("managed_policies", "arn"),
    ("ring_keys", "ring", "not_before"),
    ("roles", "account", "name_key"),
    ("users", "account", "name_key"),
)
# name, table, columns, condition
_INDEXES = (
    ("ix_access_keys_account", "access_keys", "account", ""),
    ("ix_access_keys_owner_id", "access_keys", "owner_id", ""),
    ("ix_attachments_policy_arn_account", "attachments", "policy_arn account", ""),
    ("ix_audit_records_account", "audit_records", "account at access_key_id", ""),
    ("ix_audit_records_actor_account", "audit_records", "actor_account at", "actor_account <> account"),
    ("ix_audit_records_at", "audit_records", "at", ""),
    ("ix_audit_records_request_id", "audit_records", "request_id", ""),
    ("ix_audit_records_session_id", "audit_records", "session_id", "session_id <> ''"),
    ("ix_memberships_user_id", "memberships", "user_id", ""),
    ("ix_policy_contents_keep_until", "policy_contents", "keep_until", ""),
    ("ix_revocations_account_created_at", "revocations", "account created_at", ""),
    ("ix_revocations_position", "revocations", "position", ""),
    ("ix_roles_boundary_arn", "roles", "boundary_arn", ""),
    ("ix_sessions_account", "sessions", "account issued_at principal_id", ""),
    ("ix_sessions_issued_at", "sessions", "issued_at", ""),
    ("ix_users_boundary_arn", "users", "boundary_arn", ""),
)


def upgrade() -> None:
    single_row = sa.CheckConstraint("id = 1", name=op.f("ck_feed_counter_single_row"))
    for name, primary, columns in _TABLES:
        unique = [unique_of(*of) for of in _UNIQUES if of[0] == name]
        create_table(name, primary, columns, *unique, *([single_row] if name == "feed_counter" else []))
    for name, table, indexed, condition in _INDEXES:
        create_index(table, indexed, condition, name=name)
    _first_rows()


def _first_rows() -> None:
    counter = sa.table("feed_counter", *map(sa.column, ("id", "position", "pruned", "incarnation")))
    op.bulk_insert(counter, [{"id": 1, "position": 0, "pruned": 0, "incarnation": secrets.token_hex(8)}])
    meta = sa.table("meta", sa.column("key"), sa.column("value"))
    op.bulk_insert(meta, [{"key": "installation", "value": secrets.token_hex(16)}])
