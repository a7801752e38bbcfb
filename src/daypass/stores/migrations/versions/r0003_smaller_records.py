"""Records are found by keys instead of ids, and indexes are smaller. Rows are not changed; readers know both forms.

It only adds columns and replaces indexes, so that a process of the previous release can still write. Replacing an index
reads the whole table once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daypass.stores.migrations.definitions import create_index

revision = "0003"
down_revision = "0002"
additive = True

_TABLE = "audit_records"
# column, condition
_PARTIAL = (
    ("request_id", "request_id <> ''"),
    ("request_key", "request_key IS NOT NULL"),
    ("session_key", "session_key IS NOT NULL"),
)


def upgrade() -> None:
    for name in ("request_key", "session_key"):
        op.add_column(_TABLE, sa.Column(name, sa.BigInteger(), nullable=True))
    op.drop_index("ix_audit_records_request_id", _TABLE)
    op.drop_index("ix_audit_records_account", _TABLE)
    create_index(_TABLE, "account at", name="ix_audit_records_account")
    for column, condition in _PARTIAL:
        create_index(_TABLE, column, condition)
