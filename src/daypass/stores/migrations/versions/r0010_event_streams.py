"""Event streams of the Shared Signals Framework. A program of the previous release does not need them."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0010"
down_revision = "0009"
additive = True

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
    ("event_streams", "account id"),
    ("event_streams", "next_at"),
    ("security_events", "stream_id outcome id"),
)


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        create_table(name, primary, columns)
    for table, indexed in _INDEXES:
        create_index(table, indexed)
