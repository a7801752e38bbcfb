"""Which log continues which, and until when a log is complete. A program of the previous release needs neither.

The logs of earlier programs have NULL in both columns: they count as complete, as they did before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    text = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
    op.add_column("audit_logs", sa.Column("continues", text, nullable=True))
    op.add_column("audit_logs", sa.Column("recorded_until", sa.BigInteger(), nullable=True))
    where = sa.text("continues IS NOT NULL")
    op.create_index("ix_audit_logs_continues", "audit_logs", ["continues"], sqlite_where=where, postgresql_where=where)
