"""Notification channels and notifications. A program of the previous release does not need them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
additive = True

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"),
    "int": sa.BigInteger(),
    "bytes": sa.LargeBinary(),
}

# name, primary key, columns as name:type
_TABLES: tuple[tuple[str, str, str], ...] = (
    (
        "notification_channels",
        "account name",
        (
            "account:text name:text kind:text target:text sealed_secret:bytes event_types:text created_at:int "
            "updated_at:int"
        ),
    ),
    (
        "notifications",
        "id",
        (
            "id:text account:text channel:text event:text document:text created_at:int outcome:text attempts:int "
            "next_at:int delivered_at:int error:text"
        ),
    ),
)


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        op.create_table(
            name,
            *(_column(*column.split(":")) for column in columns.split()),
            sa.PrimaryKeyConstraint(*primary.split(), name=f"pk_{name}"),
        )
    op.create_index("ix_notifications_outcome_next_at", "notifications", ["outcome", "next_at"])
    op.create_index("ix_notifications_account_id", "notifications", ["account", "id"])


def _column(name: str, kind: str) -> sa.Column[Any]:
    return sa.Column(name, _TYPES[kind], nullable=False, autoincrement=False)
