"""Passkeys and recovery codes. An older program does not read these tables, and accepts neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    text, integer = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"), sa.BigInteger()
    op.create_table(
        "passkeys",
        sa.Column("id", text, primary_key=True, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("account", "user_id", "name")),
        sa.Column("created_at", integer, nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", integer, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("aaguid", "transports")),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        *(sa.Column(name, integer, nullable=False) for name in ("used_at", "blocked_at")),
    )
    op.create_index("ix_passkeys_user_id_name", "passkeys", ["user_id", "name"], unique=True)
    op.create_table(
        "recovery_codes",
        *(sa.Column(name, text, primary_key=True, nullable=False) for name in ("user_id", "digest")),
        sa.Column("account", text, nullable=False),
        sa.Column("created_at", integer, nullable=False),
    )
