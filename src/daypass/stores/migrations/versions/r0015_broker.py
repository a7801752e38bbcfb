"""Users of chat services who may vote in a chat, and indexes by which open grants are found in the order of their ends. An
older program has no votes from a chat.
"""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0015"
down_revision = "0014"
additive = True


def upgrade() -> None:
    create_table("chat_links", "account id", "account:text id:text user_id:text name:text created_at:int")
    create_index("chat_links", "user_id id")
    for columns in ("ended_at ends_at", "ended_at claimed_at claim_by", "ended_at id"):
        create_index("grants", columns)
