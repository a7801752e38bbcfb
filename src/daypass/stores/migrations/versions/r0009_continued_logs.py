"""Which log continues which, and until when a log is complete. A program of the previous release needs neither.

The logs of earlier programs have NULL in both columns: they count as complete, as they did before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daypass.stores.migrations.definitions import TEXT, create_index

revision = "0009"
down_revision = "0008"
additive = True


def upgrade() -> None:
    op.add_column("audit_logs", sa.Column("continues", TEXT, nullable=True))
    op.add_column("audit_logs", sa.Column("recorded_until", sa.BigInteger(), nullable=True))
    create_index("audit_logs", "continues", "continues IS NOT NULL")
