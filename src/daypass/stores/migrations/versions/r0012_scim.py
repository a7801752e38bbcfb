"""SCIM: bearer tokens, and the users and groups that a directory manages. An older program does not serve SCIM."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    text, integer = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"), sa.BigInteger()
    op.create_table(
        "scim_tokens",
        sa.Column("id", text, primary_key=True, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("account", "user_id", "name")),
        *(sa.Column(name, integer, nullable=False) for name in ("created_at", "expires_at")),
    )
    op.create_index("ix_scim_tokens_account_name", "scim_tokens", ["account", "name"], unique=True)
    op.create_table(
        "scim_resources",
        sa.Column("id", text, primary_key=True, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("account", "resource_type", "external_id", "document")),
        *(sa.Column(name, integer, nullable=False) for name in ("version", "created_at", "updated_at")),
    )
    op.create_index("ix_scim_resources_account_resource_type_id", "scim_resources", ["account", "resource_type", "id"])
    op.create_index(
        "ix_scim_resources_account_resource_type_external_id",
        "scim_resources",
        ["account", "resource_type", "external_id"],
    )
