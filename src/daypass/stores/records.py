"""The tables of the audit record and of the sessions projected from it.

The indexes are part of the design: an index on a random key costs about 20 µs of CPU and a page of write-ahead log for
each row, one on a key that grows with time about 1 µs and, in a batch of 32, two pages. Every index here leads with a time, an account or an id that is
ordered by time (`crypto.ids`), or holds few rows. It has no foreign keys, and "revoked" is computed, never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Index, Integer, LargeBinary, Table, cast, text

from daypass.stores.columns import String, metadata
from daypass.stores.columns import integer as _int
from daypass.stores.columns import text as _text


class _Blob(LargeBinary):
    """Bytes, whatever a row holds: SQLite stores a value of any type in any column, and text that is not UTF-8 cannot be
    read as text.
    """

    def column_expression(self, colexpr: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(colexpr, LargeBinary)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, _Blob, nullable=False)


def _index(column: str, condition: str, name: str = "") -> Index:
    """On the rows of the record for which `condition` is true. `name`: the column's, by default."""
    where = text(condition)
    return Index(f"ix_audit_records_{name or column}", column, sqlite_where=where, postgresql_where=where)


USUAL: Mapping[str, tuple[str, ...]] = {
    "type": ("session.issued", "request.allowed"),
    "operation": ("", "sts:AssumeRole", "sts:GetCallerIdentity"),
    "error": ("",),
}
"""Values of searchable columns that most records have. All others are in a partial index, which costs the usual records
nothing; a search for these reads the hours in `audit_hours`.
"""


def unusual(column: str) -> ColumnElement[bool]:
    """The condition of the partial index of a column. A search has to repeat it for the index to be used."""
    values = ", ".join(f"'{value}'" for value in USUAL[column])
    return text(f"{column} NOT IN ({values})")  # type: ignore[return-value]  # a text is a clause, too


def _unusual_index(column: str) -> Index:
    where = unusual(column)
    name = f"ix_audit_records_{column}"
    return Index(name, column, "account", "at", sqlite_where=where, postgresql_where=where)


audit_logs = Table(
    "audit_logs",
    metadata,
    _text("log", key=True),  # 32 hex digits; a log belongs to one process start
    _text("installation"),
    _text("node"),
    _int("opened_at"),
    _int("named_seq"),  # the newest head of this log that another log's opening names; -1 if there is none
    Column("continues", String, nullable=True),  # the first log of its process; NULL in that one
    # Set in the first log of a process: the database has the sessions that it issued until then (ms). NULL: it has all,
    # because the process has ended and its spool is drained, or it has no spool.
    Column("recorded_until", BigInteger, nullable=True),
    Index(
        "ix_audit_logs_continues",
        "continues",
        sqlite_where=text("continues IS NOT NULL"),
        postgresql_where=text("continues IS NOT NULL"),
    ),
)

audit_records = Table(
    "audit_records",
    metadata,
    _text("log", key=True),
    _int("seq", key=True),  # from 0, without a gap
    _int("at"),  # ms
    # Searchable copies: shortened, control characters replaced. `bytes` is authoritative (audit/columns.py).
    _text("type"),
    _text("account"),
    _text("actor_account"),
    _text("operation"),
    _text("access_key_id"),
    _text("error"),
    _bytes("bytes"),  # canonical event bytes, packed (audit/packing.py)
    _bytes("chain"),  # 32 bytes, see docs/reference/record-format.md
    Column("request_key", BigInteger, nullable=True),  # 63 bits of the id; NULL without one
    Column("session_key", BigInteger, nullable=True),
    # A search by access key, which is random, compares it here: it reads no row that does not match.
    Index("ix_audit_records_at", "at", "access_key_id"),
    Index("ix_audit_records_account", "account", "at", "access_key_id"),
    *map(_unusual_index, USUAL),
    _index("request_key", "request_key IS NOT NULL"),
    # The record that issued a session is found by the session's row.
    _index("session_key", "session_key IS NOT NULL AND type <> 'session.issued'", "session_use"),
    Index(
        "ix_audit_records_actor_account",
        "actor_account",
        "at",
        "access_key_id",
        sqlite_where=text("actor_account <> account"),
        postgresql_where=text("actor_account <> account"),
    ),
)

# A row for each access key or usual value and hour, not for each record: a search reads the records of these hours only,
# the newest first, so it costs the same however long the record is (`audit.sql.note_hours`).
audit_hours = Table(
    "audit_hours",
    metadata,
    _text("value", key=True),  # an access key, or one of `audit.columns.usual_values`
    _int("hour", key=True),  # since 1970, in which it has records
)

# The columns by which sessions are found. The event that issued a session holds the whole session.
sessions = Table(
    "sessions",
    metadata,
    _text("session_id", key=True),
    _text("log"),  # with `seq`: the record that issued it
    _int("seq"),
    _text("account"),
    _text("kind"),
    _text("principal_id"),
    _int("issued_at"),  # ms
    _int("expires_at"),  # ms
    _text("root_principal_id"),
    Column("depth", Integer, nullable=False),
    Index("ix_sessions_account", "account", "issued_at", "principal_id"),
    # Active sessions are its last part. A revocation counts there the sessions that it ended.
    Index("ix_sessions_active", "expires_at", "principal_id", "root_principal_id", "depth"),
)
