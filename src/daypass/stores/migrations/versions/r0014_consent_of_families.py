"""The consent that a family of refresh tokens descends from. A program of the previous release writes NULL: withdrawing the
consent then ends no family of its, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
additive = True

_TABLE = "refresh_families"


def upgrade() -> None:
    text = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
    op.add_column(_TABLE, sa.Column("consent_id", text, nullable=True))
    where = sa.text("consent_id IS NOT NULL")
    op.create_index(
        "ix_refresh_families_consent_id",
        _TABLE,
        ["consent_id"],
        sqlite_where=where,
        postgresql_where=where,
    )
