"""Indexes that each issued session paid for, and that another index can replace.

The record that issued a session is found by the session's row, and ids of sessions are ordered by time. A process of the
previous release still writes the same rows; its lists of all accounts' sessions and its searches by session id read the
whole table. Making the new index reads the record once. It comes first, because on PostgreSQL only dropping an index
stops readers.
"""

from __future__ import annotations

from alembic import op

from daypass.stores.migrations.definitions import create_index

revision = "0018"
down_revision = "0017"
additive = True


def upgrade() -> None:
    condition = "session_key IS NOT NULL AND type <> 'session.issued'"
    create_index("audit_records", "session_key", condition, name="ix_audit_records_session_use")
    op.drop_index("ix_sessions_issued_at", "sessions")  # first, as a list locks sessions before their events
    op.drop_index("ix_audit_records_session_key", "audit_records")
