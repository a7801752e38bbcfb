"""The first of two releases that replace a column: it adds the new one. Older programs may go on: they do not write it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daypass.stores.migrations.versions import initial

revision = "2.expand"
down_revision = initial.revision
additive = True


def upgrade() -> None:
    op.add_column("nodes", sa.Column("host", sa.Text(), nullable=True))
