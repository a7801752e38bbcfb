"""Passkeys and recovery codes. An older program does not read these tables, and accepts neither."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0011"
down_revision = "0010"
additive = True


def upgrade() -> None:
    columns = (
        "id:text account:text user_id:text name:text created_at:int public_key:bytes sign_count:int aaguid:text "
        "transports:text backed_up:bool used_at:int blocked_at:int"
    )
    create_table("passkeys", "id", columns)
    create_index("passkeys", "user_id name", unique=True)
    create_table("recovery_codes", "user_id digest", "user_id:text digest:text account:text created_at:int")
