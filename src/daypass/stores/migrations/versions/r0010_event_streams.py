"""Event streams of the Shared Signals Framework. A program of the previous release does not need them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0010"
down_revision = "0009"
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
        "event_streams",
        "id",
        (
            "id:text account:text created_by:text description:text method:text endpoint_url:text sealed_secret:bytes "
            "event_types:text delivery_status:text reason:text position:int created_at:int updated_at:int "
            "verified_at:int next_at:int failures:int"
        ),
    ),
    ("removed_subjects", "stream_id digest", "stream_id:text digest:text account:text subject:text created_at:int"),
    (
        "security_events",
        "id",
        (
            "id:text account:text stream_id:text event:text document:text created_at:int outcome:text attempts:int "
            "finished_at:int error:text"
        ),
    ),
)
_INDEXES = (
    ("event_streams", ("account", "id")),
    ("event_streams", ("next_at",)),
    ("security_events", ("stream_id", "outcome", "id")),
)


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        op.create_table(
            name,
            *(_column(*column.split(":")) for column in columns.split()),
            sa.PrimaryKeyConstraint(*primary.split(), name=f"pk_{name}"),
        )
    for table, columns_of in _INDEXES:
        op.create_index("_".join(("ix", table, *columns_of)), table, list(columns_of))


def _column(name: str, kind: str) -> sa.Column[Any]:
    return sa.Column(name, _TYPES[kind], nullable=False, autoincrement=False)
