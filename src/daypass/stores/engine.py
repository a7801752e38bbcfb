"""Opens the database and runs reads and write transactions on it, the same way for SQLite and PostgreSQL.

Everything here blocks, so it must never be called on the event loop. It must never return a connection that is not in a
transaction, and a read must never see two states of the database.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from daypass.domain.directory import Account
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition
from daypass.stores import sqlite
from daypass.stores.acknowledged import Acknowledged, losses
from daypass.stores.backend import (
    ANSWER_SECONDS,
    FEED_HEAD,
    LOG_HEAD,
    REVOCATIONS,
    Backend,
    RestoreCheck,
    UnusableDatabase,
)
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.feed import feed_head, renew_epoch
from daypass.stores.log_heads import LogHead
from daypass.stores.meta import note_lost
from daypass.stores.sqlite import advice
from daypass.stores.tx import LOST, StoreTx, end_sessions_of_all_accounts, forget_session_keys, restore_revocations

T = TypeVar("T")

PATIENT_SECONDS = 3600.0
"""Time limit of a statement at start, when no request waits: a migration, or ending all sessions."""
_HANGS_SECONDS = 5.0
"""After a statement without response, only probes wait for the database, for this long or until one is answered."""


class Database:
    """One database, with a pool of read connections and one for writing. Safe to share between threads."""

    def __init__(self, backend: Backend, readers: int) -> None:
        self._backend = backend
        self.readers = readers
        """How many threads may read at the same time, in addition to the one that polls."""
        self._unanswered_at = float("-inf")
        self._closed = False

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._backend.name

    @property
    def hangs(self) -> bool:
        """Whether a recent statement got no response and none has succeeded since. If so, do not wait for the
        database.
        """
        return time.monotonic() - self._unanswered_at < _HANGS_SECONDS

    def read(self, fn: Callable[[Connection], T], *, probe: bool = False, seconds: float | None = None) -> T:
        """Runs `fn` in one read-only snapshot. Raises DaypassError(UNAVAILABLE) when the database cannot answer.

        A broken connection from the pool is replaced once, because reads can be repeated. While the database hangs,
        only calls with `probe` use it. `seconds`: the limit for one statement, if the default is not suitable.
        """
        if self.hangs and not probe:
            raise database_needed("the database does not answer")
        try:
            try:
                return self._read(fn, seconds)
            except DBAPIError as error:
                if not error.connection_invalidated or isinstance(error.orig, self._backend.unanswered):
                    raise
                return self._read(fn, seconds)
        except (DBAPIError, PoolTimeout) as error:
            self._note(error)
            raise unavailable(error) from error

    def read_after(self, fn: Callable[[Connection], T], seen: FeedPosition) -> T:
        """As `read`, in a snapshot that has every change up to `seen`. Raises DaypassError(UNAVAILABLE) when this server is a
        standby that lacks some, or belongs to another epoch.
        """

        def checked(conn: Connection) -> T:
            head = feed_head(conn)
            if head.epoch != seen.epoch or head.position < seen.position:
                raise database_needed("this server does not have all changes that the process has seen")
            return fn(conn)

        return self.read(checked)

    def _read(self, fn: Callable[[Connection], T], seconds: float | None) -> T:
        with self._backend.readers.begin() as conn:
            result = self._within(conn, fn, seconds)
        self._unanswered_at = float("-inf")
        return result

    def _within(self, conn: Connection, fn: Callable[[Connection], T], seconds: float | None) -> T:
        if seconds is None:
            return fn(conn)
        with self._backend.statement_timeout(conn, seconds):
            return fn(conn)

    def _note(self, error: Exception) -> None:
        if isinstance(getattr(error, "orig", None), self._backend.unanswered):
            self._unanswered_at = time.monotonic()

    @contextmanager
    def write_transaction(self, *, seconds: float | None = None) -> Iterator[Connection]:
        """A transaction that may write; it commits durably at the end of the block, or rolls back when that raises.

        SQLite: waits for the file lock that all writing processes share, then BEGIN IMMEDIATE. PostgreSQL: READ
        COMMITTED with statement and lock timeouts; `seconds` gives each statement longer. Driver errors pass
        unchanged: the journal tells them apart.
        """
        try:
            with self._backend.write_lock():
                with self._backend.begin() as conn:
                    notes = conn.info
                    notes.pop(FEED_HEAD, None)
                    notes.pop(LOG_HEAD, None)
                    notes.pop(REVOCATIONS, None)
                    with nullcontext() if seconds is None else self._backend.statement_timeout(conn, seconds):
                        yield conn
                self._acknowledge(notes)
        except DBAPIError as error:
            self._note(error)
            raise
        self._unanswered_at = float("-inf")

    def _acknowledge(self, notes: dict[Any, Any]) -> None:
        """Notes what a transaction has committed. Called under the lock."""
        head, log_head, revocations = (notes.pop(key, None) for key in (FEED_HEAD, LOG_HEAD, REVOCATIONS))
        if head is not None:
            self._backend.committed(head)
        if self._backend.acknowledged is not None:
            if log_head is not None:
                self._backend.acknowledged.note_log(log_head)
            if revocations:
                self._backend.acknowledged.keep(revocations)

    def epoch(self) -> str:
        """The epoch of the database. It changes when the database is restored or failed over. Up to 16 characters."""
        return self.read(feed_head).epoch

    def detect_restore(self, now: int) -> RestoreCheck:
        """Detects at start that the database is older than, or not the same as, the one last written here.

        Then it gets a new epoch, so that no session's `seen` is compared with positions of another epoch. Revocations that
        the node has kept are restored. Others may be missing, and sessions may be off the record, so every session ends
        (attacks A105, A112). Missing records are stored for the next log, which names them. `now`: ms.
        """
        acknowledged = self._backend.acknowledged
        if acknowledged is None:
            return RestoreCheck()
        with self.write_transaction(seconds=PATIENT_SECONDS) as conn:
            check = RestoreCheck(self._backend.is_replaced(conn), losses(conn, acknowledged.heads()))
            if check.replaced or check.losses.heads:
                renew_epoch(conn)
                tx = StoreTx(conn, now)
                accounts = set(conn.execute(select(ENTITY_TABLES[Account].table.c.id)).scalars())
                kept = [each for each in acknowledged.kept(now) if each.account in accounts]  # not of a former database
                check = replace(check, revocations=restore_revocations(tx, kept))
                end_sessions_of_all_accounts(tx, now, LOST)
            if check.replaced:
                forget_session_keys(conn)
            if check.losses.heads:
                note_lost(conn, check.losses)
        acknowledged.forget(check.losses.heads)
        return check

    def forget_heads(self, lost: Sequence[LogHead]) -> None:
        """These losses were noted in the database: the next start does not report them again."""
        if self._backend.acknowledged is not None:
            self._backend.acknowledged.discard(lost)

    def check(self) -> None:
        """Raises UnusableDatabase when pages are corrupt, or DaypassError(UNAVAILABLE) when it cannot be reached."""
        wrong = self.read(self._backend.check)
        if wrong:
            raise UnusableDatabase(wrong)

    def clock(self, conn: Connection) -> int | None:
        """The database server's time in ms; None on SQLite, which has no clock."""
        return self._backend.clock(conn)

    def warning(self) -> str:
        """A warning about the durability of commits; "" for none. Raises as `read`."""
        return self.read(self._backend.warning)

    def others(self) -> bool:
        """Whether another process of this node serves from the database. Call it before `join`."""
        return self._backend.acknowledged is not None and self._backend.acknowledged.others()

    def join(self) -> None:
        """Tells other processes that this one serves from the database, until `close`."""
        if self._backend.acknowledged is not None:
            self._backend.acknowledged.join()

    def suspect(self) -> bool:
        """Whether the next write will probably fail: the SQLite file or its log is not in its place, or its disk is full."""
        return self._backend.suspect()

    def close(self) -> None:
        """Closes every connection and the lock file. A connection that a thread still uses is closed when it returns.
        A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        for engine in (self._backend.readers, self._backend.writer):
            event.listen(
                engine.pool, "checkin", _close_returned
            )  # the pool that dispose() puts in its place has it too
            engine.dispose()
        self._backend.close()


def _close_returned(_connection: object, record: ConnectionPoolEntry) -> None:
    record.close()


def unavailable(error: Exception) -> DaypassError:
    """The public error for a database failure: it says only that the caller may try again."""
    cause = getattr(error, "orig", None) or error
    return database_needed(f"{type(cause).__name__}: {cause}"[:500])


def is_outage(error: DaypassError) -> bool:
    """Whether a read failed because the database did not answer, so that another server may be asked."""
    return error.kind is ErrorKind.UNAVAILABLE and "database" in error.private


def database_needed(why: str) -> DaypassError:
    """The refusal of an operation that cannot be done without the database. `why` is for the record and the log."""
    public = "The database is unavailable, and this request needs it. Please try again later."
    return DaypassError(ErrorKind.UNAVAILABLE, public, private={"database": why})


def open_database(
    url: str,
    *,
    readers: int = 4,
    more: int = 0,
    answer_seconds: float = ANSWER_SECONDS,
    write_seconds: float | None = None,
    acknowledged: Path | None = None,
    epoch: str = "",
) -> Database:
    """Opens `sqlite:///PATH` (four slashes for an absolute path) or `postgresql://…`; makes the SQLite file if needed.

    It connects to PostgreSQL on first use. One connection more than `readers` is reserved for polling, and `more` of them
    for threads that are not counted by `Database.readers` (attack A321).
    `answer_seconds`: the time limit for PostgreSQL's response to one statement; `write_seconds`: the same for
    statements that write, if it is shorter. `acknowledged`: beside which file the node notes what PostgreSQL has committed;
    None: nowhere. SQLite has its own. `epoch`: of PostgreSQL, if the operator names it.

    Raises:
        ValueError: the URL is not valid for either database. The message does not contain it, because it may hold a
        password.
        UnusableDatabase: the SQLite file is not a database, or cannot be opened.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("the database URL is not a URL: use sqlite:///PATH or postgresql://…") from None
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.query:
            raise ValueError("sqlite needs a file and takes no parameters: sqlite:///PATH")
        try:
            return Database(sqlite.open_backend(parsed.database, readers + more + 1), readers)
        except (OSError, DBAPIError, sqlite3.Error) as error:  # the driver's own: of connections outside the pools
            words = getattr(error, "orig", None) or error
            raise UnusableDatabase(
                f"the database {parsed.database} cannot be opened: {words}. {advice(error)}"
            ) from error
    if kind in ("postgresql", "postgres"):
        from daypass.stores import postgres  # noqa: PLC0415  # its driver is a sixth of what a process on SQLite would load

        writing = answer_seconds if write_seconds is None else min(answer_seconds, write_seconds)
        notes = _acknowledged(acknowledged) if acknowledged is not None else None
        backend = postgres.open_backend(parsed, readers + more + 1, answer_seconds, writing, notes, epoch)
        return Database(backend, readers)
    raise ValueError("the database URL must begin with sqlite:/// or postgresql://")


def _acknowledged(base: Path) -> Acknowledged | None:
    """None, and a warning, where the files cannot be made: on a read-only file system a server still starts."""
    try:
        return Acknowledged(base)
    except OSError as error:
        from daypass.observability import logs  # noqa: PLC0415  # worker processes do not load the logger

        logs.get().warning("acknowledged.not_noted", error=str(error))
        return None
