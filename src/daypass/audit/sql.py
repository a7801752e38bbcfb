"""The journal's statements: many rows in one statement, because each statement releases the interpreter lock.

Values are passed directly to the driver (`exec_driver_sql`, `sqlite_driver`). This avoids SQLAlchemy's work for each row,
but keeps its handling of errors and lost connections. Nothing is ever updated in `audit_records`. A statement that fails may leave
rows behind: its transaction must be rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.exc import IntegrityError

from daypass.audit.columns import HOUR_MS, VALUED, usual_values
from daypass.audit.rows import SESSION_FIELDS
from daypass.stores import sqlite
from daypass.stores.backend import COPY_TYPES
from daypass.stores.records import audit_records

Rows: TypeAlias = Sequence[tuple[Any, ...]]

RECORD_COLUMNS = (
    "log",
    "seq",
    "at",
    "type",
    "account",
    "actor_account",
    "operation",
    "access_key_id",
    "error",
    "request_key",
    "session_key",
    "bytes",
    "chain",
)
SESSION_COLUMNS = ("log", "seq", *SESSION_FIELDS)
REPLAY_COLUMNS = ("purpose", "id", "account", "at", "expires_at")
CLOCK_MARK = "clock_mark"
"""Key in `meta`: the highest time that any process of this installation has recorded, ms. A reset adds its own id."""
CLOCK_RESET = "clock_reset"
"""Key in `meta`: the id of the last reset of the clock. Each reset begins a new mark, which older processes do not
raise.
"""

_INTEGERS = frozenset({"seq", "at", "issued_at", "expires_at", "request_key", "session_key"})
_SMALL = frozenset({"depth"})
_BYTES = frozenset({"bytes", "chain"})
_STEP, _MAX_ROWS = (
    16,
    128,
)  # rows; a statement has less than a step or whole steps. SQLite retains the last values of each
_AGAIN = " ON CONFLICT (log, seq) DO NOTHING"
_ONCE = " ON CONFLICT (session_id) DO NOTHING"
_UNUSED = " ON CONFLICT (purpose, id) DO NOTHING RETURNING purpose, id"
_PRUNE = text(
    "DELETE FROM redeemed WHERE (purpose, id) IN "
    "(SELECT purpose, id FROM redeemed WHERE expires_at < :before ORDER BY expires_at LIMIT :most)"
)

_KEY, _KEY_AT = RECORD_COLUMNS.index("access_key_id"), RECORD_COLUMNS.index("at")
_TYPE, _ACCOUNT, _ACTOR, _OPERATION = map(RECORD_COLUMNS.index, VALUED)
_NOTE_HOUR = text("INSERT INTO audit_hours (value, hour) VALUES (:value, :hour) ON CONFLICT (value, hour) DO NOTHING")

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
    """How one database inserts many rows at once."""

    def insert_records(self, conn: Connection, rows: Rows) -> int:
        """Inserts rows in the order of RECORD_COLUMNS. Existing rows are not changed. Returns the number of rows
        added.
        """
        ...

    def insert_sessions(self, conn: Connection, rows: Rows) -> None:
        """Inserts rows in the order of SESSION_COLUMNS. Raises IntegrityError when a session id exists already."""
        ...

    def add_sessions(self, conn: Connection, rows: Rows) -> int:
        """Inserts rows, except those whose session id exists already. Returns the number of rows added."""
        ...

    def copy(self, conn: Connection, records: Rows, sessions: Rows) -> bool:
        """Adds many rows at once, all of them new. Returns False, and adds nothing, when one exists already or the
        database has no faster way than the other methods.
        """
        ...

    def consume(self, conn: Connection, rows: Rows) -> set[tuple[str, str]]:
        """Inserts rows in the order of REPLAY_COLUMNS, with different keys. Returns the keys (purpose, id) of those that
        did not exist.
        """
        ...


class SqliteStatements:
    """One INSERT of many VALUES: the driver releases the interpreter lock once for each statement, not for each row."""

    def __init__(self) -> None:
        self._records = _ManyRows("audit_records", RECORD_COLUMNS, _AGAIN)
        self._sessions = _ManyRows("sessions", SESSION_COLUMNS)
        self._new_sessions = _ManyRows("sessions", SESSION_COLUMNS, _ONCE)
        self._replays = _ManyRows("redeemed", REPLAY_COLUMNS, _UNUSED)

    def insert_records(self, conn: Connection, rows: Rows) -> int:
        return self._records.insert(conn, rows)

    def insert_sessions(self, conn: Connection, rows: Rows) -> None:
        self._sessions.insert(conn, rows)

    def add_sessions(self, conn: Connection, rows: Rows) -> int:
        return self._new_sessions.insert(conn, rows)

    def copy(self, conn: Connection, records: Rows, sessions: Rows) -> bool:  # noqa: ARG002  # nothing faster here
        return False

    def consume(self, conn: Connection, rows: Rows) -> set[tuple[str, str]]:
        return self._replays.returning(conn, rows)


class _ManyRows:
    """Inserts up to `_MAX_ROWS` rows in at most two statements. There are few statement sizes, so the driver caches each
    prepared statement.

    OR FAIL: a statement that fails takes the whole transaction with it, so that SQLite need not be able to undo the
    statement alone. For that it would copy every page that the statement changes, and beyond 64 KB write them to a
    temporary file.
    """

    def __init__(self, table: str, columns: Sequence[str], rest: str = "") -> None:
        self._start = f"INSERT OR FAIL INTO {table} ({','.join(columns)}) VALUES "  # noqa: S608 - our names
        self._row = f"({','.join(repeat('?', len(columns)))})"
        self._rest = rest
        self._by_size: dict[int, str] = {}

    def insert(self, conn: Connection, rows: Rows) -> int:
        """The number of rows added."""
        added = done = 0
        while left := len(rows) - done:
            size = min(left - left % _STEP or left, _MAX_ROWS)
            parameters = tuple(chain.from_iterable(rows[done : done + size]))
            added += sqlite.run(conn, self._statement(size), parameters).rowcount
            done += size
        return added

    def returning(self, conn: Connection, rows: Rows) -> set[tuple[str, str]]:
        """The keys of the added rows."""
        added: set[tuple[str, str]] = set()
        for at in range(0, len(rows), _MAX_ROWS):
            part = rows[at : at + _MAX_ROWS]
            keys = sqlite.run(conn, self._statement(len(part)), tuple(chain.from_iterable(part)))
            added.update((row[0], row[1]) for row in keys)
        return added

    def _statement(self, size: int) -> str:
        statement = self._by_size.get(size)
        if statement is None:
            statement = self._by_size[size] = f"{self._start}{','.join(repeat(self._row, size))}{self._rest}"
        return statement


class PostgresStatements:
    """One INSERT from arrays, one for each column: the same statement for any number of rows, in one round trip."""

    def __init__(self) -> None:
        self._records = _unnest("audit_records", RECORD_COLUMNS) + _AGAIN
        self._sessions = _unnest("sessions", SESSION_COLUMNS)
        self._replays = _unnest("redeemed", REPLAY_COLUMNS) + _UNUSED

    def insert_records(self, conn: Connection, rows: Rows) -> int:
        return conn.exec_driver_sql(self._records, _columns(rows)).rowcount

    def insert_sessions(self, conn: Connection, rows: Rows) -> None:
        conn.exec_driver_sql(self._sessions, _columns(rows))

    def add_sessions(self, conn: Connection, rows: Rows) -> int:
        return conn.exec_driver_sql(self._sessions + _ONCE, _columns(rows)).rowcount

    def copy(self, conn: Connection, records: Rows, sessions: Rows) -> bool:
        try:
            with conn.begin_nested():
                for (statement, types), rows in ((_COPY_RECORDS, records), (_COPY_SESSIONS, sessions)):
                    if rows:
                        conn.exec_driver_sql(statement, (rows,), {COPY_TYPES: types})
        except IntegrityError:
            return False
        return True

    def consume(self, conn: Connection, rows: Rows) -> set[tuple[str, str]]:
        return {(row[0], row[1]) for row in conn.exec_driver_sql(self._replays, _columns(rows))}


def statements(dialect: str) -> Statements:
    """The statements for `sqlite` or `postgresql`."""
    return PostgresStatements() if dialect == "postgresql" else SqliteStatements()


Hours: TypeAlias = "set[tuple[str, int]]"
"""Rows of `audit_hours`."""


def note_hours(conn: Connection, rows: Rows, noted: Hours | None = None) -> Hours:
    """Makes searches find these records, in the order of RECORD_COLUMNS, in the same transaction. Returns what is noted, once
    that is committed, in addition to `noted`.
    """
    new = {(row[_KEY], row[_KEY_AT] // HOUR_MS) for row in rows if row[_KEY]}
    alike = {(row[_TYPE], row[_ACCOUNT], row[_ACTOR], row[_OPERATION], row[_KEY_AT] // HOUR_MS) for row in rows}
    new |= {(value, each[-1]) for each in alike for value in usual_values(*each[:-1])}
    if noted:
        new -= noted
    if new:  # every process locks the rows in one order
        conn.execute(_NOTE_HOUR, [{"value": value, "hour": hour} for value, hour in sorted(new)])
    return new


def prune_replays(conn: Connection, before: int, most: int) -> None:
    """Deletes up to `most` proofs that expired before this time (ms), the oldest first."""
    conn.execute(_PRUNE, {"before": before, "most": most})


def head(conn: Connection, log: str) -> tuple[int, bytes] | None:
    """(seq, chain) of the newest record of a log, or None."""
    row = conn.execute(_HEAD, {"log": log}).one_or_none()
    return None if row is None else (row.seq, bytes(row.chain))


def mark_key(reset: str) -> str:
    """Key in `meta` of the mark that is valid after the reset with this id ("": no reset)."""
    return f"{CLOCK_MARK}.{reset}" if reset else CLOCK_MARK


def raise_mark(conn: Connection, now: int, reset: str) -> None:
    """Persists the clock's high-water mark, ms. It never decreases, whichever process writes it, except by a reset."""
    conn.execute(_MARK, {"key": mark_key(reset), "value": str(now)})


def _unnest(table: str, columns: Sequence[str]) -> str:
    # %b: psycopg's text format of arrays is a hundred times as slow.
    arrays = ",".join(f"%b::{_type(column)}[]" for column in columns)
    return f"INSERT INTO {table} ({','.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our names


def _copy(table: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """The statement and the types of its columns."""
    return f"COPY {table} ({','.join(columns)}) FROM STDIN (FORMAT BINARY)", [_type(column) for column in columns]


def _type(column: str) -> str:
    if column in _INTEGERS:
        return "int8"
    if column in _SMALL:
        return "int4"
    return "bytea" if column in _BYTES else "text"


_COPY_RECORDS, _COPY_SESSIONS = _copy("audit_records", RECORD_COLUMNS), _copy("sessions", SESSION_COLUMNS)


def _columns(rows: Rows) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))
