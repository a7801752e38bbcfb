"""The request that extended a grant. A program of the previous release does not check its approvals when the grant is used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daypass.stores.migrations.definitions import TEXT

revision = "0017"
down_revision = "0016"
additive = True


def upgrade() -> None:
    op.add_column("grants", sa.Column("extension_id", TEXT, nullable=True))
