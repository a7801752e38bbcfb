"""The tables of the audit record and of the sessions projected from it.

The indexes are part of the design: an index on a random key costs about 20 µs of CPU and a page of write-ahead log for
each row, one on a key that grows with time about 1 µs. Every index here leads with a time, an account or an id that is
ordered by time (`ports.Ids`), or holds few rows. There are no foreign keys, and "revoked" is computed, never stored.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

from daypass.stores.metadata import metadata

String = Text().with_variant(PG_TEXT(collation="C"), "postgresql")


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, String, primary_key=key, nullable=False)


def _int(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


audit_logs = Table(
    "audit_logs",
    metadata,
    _text("log", key=True),  # 32 hex digits; a log belongs to one process start
    _text("installation"),
    _text("node"),
    _int("opened_at"),
    _int("named_seq"),  # the newest head of this log that another log's opening names; -1 when none does
)

audit_records = Table(
    "audit_records",
    metadata,
    _text("log", key=True),
    _int("seq", key=True),  # from 0, without a gap
    _int("at"),  # ms
    # Searchable copies: control characters replaced, cut. The truth is in `bytes`.
    _text("type"),
    _text("account"),
    _text("actor_account"),
    _text("operation"),
    _text("request_id"),
    _text("session_id"),
    _text("access_key_id"),
    _text("error"),
    _bytes("bytes"),  # canonical event bytes
    _bytes("leaf"),  # 32 bytes, see docs/reference/record-format.md
    _bytes("chain"),  # 32 bytes
    Index("ix_audit_records_at", "at"),
    Index("ix_audit_records_account", "account", "at", "access_key_id"),
    Index("ix_audit_records_request_id", "request_id"),
    Index(
        "ix_audit_records_session_id",
        "session_id",
        sqlite_where=text("session_id <> ''"),
        postgresql_where=text("session_id <> ''"),
    ),
    Index(
        "ix_audit_records_actor_account",
        "actor_account",
        "at",
        sqlite_where=text("actor_account <> account"),
        postgresql_where=text("actor_account <> account"),
    ),
)

sessions = Table(
    "sessions",
    metadata,
    _text("session_id", key=True),
    _text("log"),  # with `seq`: the record of its issue
    _int("seq"),
    _text("account"),
    _text("kind"),
    _text("access_key_id"),
    _text("principal_id"),
    _text("arn"),
    _text("name"),
    _int("issued_at"),  # ms
    _int("expires_at"),  # ms
    _text("parent_session_id"),  # "" for the first of a chain
    _text("root_principal_id"),
    _text("root_access_key_id"),
    _text("user_id"),  # of a federated session: whose permissions bound it
    _text("source_identity"),
    _text("grant_id"),
    Column("depth", Integer, nullable=False),
    _bytes("hops"),  # canonical JSON: an array for each hop
    Index("ix_sessions_account", "account", "issued_at", "principal_id"),
    Index("ix_sessions_issued_at", "issued_at"),
)
