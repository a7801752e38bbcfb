"""Notification channels and notifications. A program of the previous release does not need them."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0008"
down_revision = "0007"
additive = True

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
        create_table(name, primary, columns)
    create_index("notifications", "outcome next_at")
    create_index("notifications", "account id")
