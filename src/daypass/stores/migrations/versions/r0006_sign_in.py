"""Sessions of browsers. An older program does not read this table, and serves no sign-in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
additive = True

_TABLE = "browser_sessions"


def upgrade() -> None:
    text, integer = sa.Text().with_variant(PG_TEXT(collation="C"), "postgresql"), sa.BigInteger()
    op.create_table(
        _TABLE,
        sa.Column("id", text, primary_key=True, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("session_id", "account", "principal_id")),
        *(sa.Column(name, integer, nullable=False) for name in ("created_at", "used_at", "expires_at")),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("access_key_id", "token", "source_ip", "user_agent", "proof")
        ),
    )
    op.create_index("ix_browser_sessions_account_principal_id", _TABLE, ["account", "principal_id"])
    op.create_index("ix_browser_sessions_expires_at", _TABLE, ["expires_at"])
