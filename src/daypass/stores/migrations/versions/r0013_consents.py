"""Remembered consents. A program of the previous release does not read them, and asks people each time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
additive = True

_TABLE = "consents"
_TEXTS = ("account", "person_id", "client_id", "role", "scope", "audiences")


def upgrade() -> None:
    text = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
    op.create_table(
        _TABLE,
        sa.Column("id", text, primary_key=True, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in _TEXTS),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("created_at", "expires_at")),
    )
    op.create_index("ix_consents_account_person_id", _TABLE, ["account", "person_id"])
    op.create_index("ix_consents_expires_at", _TABLE, ["expires_at"])
