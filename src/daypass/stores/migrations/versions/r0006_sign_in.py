"""Sessions of browsers. An older program does not read this table, and serves no sign-in."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0006"
down_revision = "0005"
additive = True

_TABLE = "browser_sessions"


def upgrade() -> None:
    columns = (
        "id:text session_id:text account:text principal_id:text created_at:int used_at:int expires_at:int "
        "access_key_id:text token:text source_ip:text user_agent:text proof:text"
    )
    create_table(_TABLE, "id", columns)
    create_index(_TABLE, "account principal_id")
    create_index(_TABLE, "expires_at")
