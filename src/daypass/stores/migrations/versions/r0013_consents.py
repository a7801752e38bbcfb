"""Remembered consents. A program of the previous release does not read them, and asks people each time."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0013"
down_revision = "0012"
additive = True

_TABLE = "consents"


def upgrade() -> None:
    columns = (
        "id:text account:text person_id:text client_id:text role:text scope:text audiences:text created_at:int "
        "expires_at:int"
    )
    create_table(_TABLE, "id", columns)
    create_index(_TABLE, "account person_id")
    create_index(_TABLE, "expires_at")
