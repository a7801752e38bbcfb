"""The second of two releases: the old column goes. Programs that need it are refused from now on."""

from __future__ import annotations

from alembic import op

revision = "3.contract"
down_revision = "2.expand"


def upgrade() -> None:
    op.drop_column("nodes", "name")
