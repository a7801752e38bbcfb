"""An index by which notifications are found by account. Some programs at 0015 have made it already."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
additive = True


def upgrade() -> None:
    op.create_index(
        "ix_notifications_outcome_account_next_at",
        "notifications",
        ["outcome", "account", "next_at"],
        if_not_exists=True,
    )
