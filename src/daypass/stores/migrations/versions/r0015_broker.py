"""Users of chat services who may vote in a chat, and indexes by which open grants are found in the order of their ends. An
older program has no votes from a chat.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
additive = True

_TABLE = "chat_links"


def upgrade() -> None:
    text = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql")
    op.create_table(
        _TABLE,
        sa.Column("account", text, primary_key=True, nullable=False),
        sa.Column("id", text, primary_key=True, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("user_id", "name")),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_chat_links_user_id_id", _TABLE, ["user_id", "id"])
    for columns in (("ended_at", "ends_at"), ("ended_at", "claimed_at", "claim_by"), ("ended_at", "id")):
        op.create_index(f"ix_grants_{'_'.join(columns)}", "grants", list(columns))
