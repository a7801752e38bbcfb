"""The consent that a family of refresh tokens descends from. A program of the previous release writes NULL: withdrawing the
consent then ends no family of its, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daypass.stores.migrations.definitions import TEXT, create_index

revision = "0014"
down_revision = "0013"
additive = True

_TABLE = "refresh_families"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("consent_id", TEXT, nullable=True))
    create_index(_TABLE, "consent_id", "consent_id IS NOT NULL")
