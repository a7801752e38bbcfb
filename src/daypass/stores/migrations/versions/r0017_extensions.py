"""The request that extended a grant. A program of the previous release does not check its approvals when the grant is used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    text = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
    op.add_column("grants", sa.Column("extension_id", text, nullable=True))
