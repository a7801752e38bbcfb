"""The journal's statements: many rows in one statement, because each statement is a hand-over of the interpreter lock.

Values go to the driver as they are (`exec_driver_sql`), past SQLAlchemy's work for each row, but not past its handling of
errors and lost connections. Nothing is ever updated in `audit_records`. A statement that fails may leave rows behind: its
transaction must be rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, bindparam, select, text

from daypass.audit.rows import EVENT_FIELDS, SESSION_FIELDS
from daypass.stores.records import audit_records

Rows: TypeAlias = Sequence[tuple[Any, ...]]

RECORD_COLUMNS = ("log", "seq", *EVENT_FIELDS, "chain")
SESSION_COLUMNS = ("log", "seq", *SESSION_FIELDS)
CLOCK_MARK = "clock_mark"
"""Key in `meta`: the highest time that any process of this installation has recorded, ms."""

_INTEGERS = frozenset({"seq", "at", "issued_at", "expires_at"})
_SMALL = frozenset({"depth"})
_BYTES = frozenset({"bytes", "leaf", "chain", "hops"})
_STEP, _MOST = 16, 128  # rows: a statement takes less than a step, or whole steps. SQLite keeps what each one took last
_AGAIN = " ON CONFLICT (log, seq) DO NOTHING"

_MARK = text(
    "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value "
    "WHERE CAST(excluded.value AS BIGINT) > CAST(meta.value AS BIGINT)"
)
_HEAD = (
    select(audit_records.c.seq, audit_records.c.chain)
    .where(audit_records.c.log == bindparam("log"))
    .order_by(audit_records.c.seq.desc())
    .limit(1)
)


class Statements(Protocol):
    """How one database takes many rows at once."""

    def insert_records(self, conn: Connection, rows: Rows) -> int:
        """Rows in the order of RECORD_COLUMNS; those that are there stay as they are. Returns how many were added."""
        ...

    def insert_sessions(self, conn: Connection, rows: Rows) -> None:
        """Rows in the order of SESSION_COLUMNS. Raises IntegrityError when a session id is taken."""
        ...


class SqliteStatements:
    """One INSERT of many VALUES: the driver gives up the interpreter lock for each statement, not for each row."""

    def __init__(self) -> None:
        self._records = _ManyRows("audit_records", RECORD_COLUMNS, _AGAIN)
        self._sessions = _ManyRows("sessions", SESSION_COLUMNS)

    def insert_records(self, conn: Connection, rows: Rows) -> int:
        return self._records.insert(conn, rows)

    def insert_sessions(self, conn: Connection, rows: Rows) -> None:
        self._sessions.insert(conn, rows)


class _ManyRows:
    """Up to `_MOST` rows in two statements at most, of so few sizes that the driver keeps each one prepared.

    OR FAIL: a statement that fails takes the whole transaction with it, so that SQLite need not be able to undo the
    statement alone. To that end it would copy every page that the statement changes, to a file in /tmp beyond 64 KB.
    """

    def __init__(self, table: str, columns: Sequence[str], rest: str = "") -> None:
        self._start = f"INSERT OR FAIL INTO {table} ({','.join(columns)}) VALUES "  # noqa: S608 - our names
        self._row = f"({','.join(repeat('?', len(columns)))})"
        self._rest = rest
        self._by_size: dict[int, str] = {}

    def insert(self, conn: Connection, rows: Rows) -> int:
        """How many were added."""
        added = done = 0
        while left := len(rows) - done:
            size = min(left - left % _STEP or left, _MOST)
            parameters = tuple(chain.from_iterable(rows[done : done + size]))
            added += conn.exec_driver_sql(self._statement(size), parameters).rowcount
            done += size
        return added

    def _statement(self, size: int) -> str:
        found = self._by_size.get(size)
        if found is None:
            found = self._by_size[size] = f"{self._start}{','.join(repeat(self._row, size))}{self._rest}"
        return found


class PostgresStatements:
    """One INSERT from arrays, one for each column: the same statement for any number of rows, in one round trip."""

    def __init__(self) -> None:
        self._records = _unnest("audit_records", RECORD_COLUMNS) + _AGAIN
        self._sessions = _unnest("sessions", SESSION_COLUMNS)

    def insert_records(self, conn: Connection, rows: Rows) -> int:
        return conn.exec_driver_sql(self._records, _columns(rows)).rowcount

    def insert_sessions(self, conn: Connection, rows: Rows) -> None:
        conn.exec_driver_sql(self._sessions, _columns(rows))


def statements(dialect: str) -> Statements:
    """Those of `sqlite` or `postgresql`."""
    return PostgresStatements() if dialect == "postgresql" else SqliteStatements()


def head(conn: Connection, log: str) -> tuple[int, bytes] | None:
    """(seq, chain) of the newest record of a log, or None."""
    row = conn.execute(_HEAD, {"log": log}).one_or_none()
    return None if row is None else (row.seq, bytes(row.chain))


def raise_mark(conn: Connection, now: int) -> None:
    """Persists the clock's high-water mark, ms. It never goes down, whichever process writes it."""
    conn.execute(_MARK, {"key": CLOCK_MARK, "value": str(now)})


def _unnest(table: str, columns: Sequence[str]) -> str:
    # %b: psycopg's text form of arrays costs a hundred times as much.
    arrays = ",".join(f"%b::{_array_type(column)}" for column in columns)
    return f"INSERT INTO {table} ({','.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our names


def _array_type(column: str) -> str:
    if column in _INTEGERS:
        return "bigint[]"
    if column in _SMALL:
        return "integer[]"
    return "bytea[]" if column in _BYTES else "text[]"


def _columns(rows: Rows) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))
