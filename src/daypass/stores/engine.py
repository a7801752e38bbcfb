"""Opens the database and runs reads and write transactions on it, the same way for SQLite and PostgreSQL.

Everything here blocks, so it must never be called on the event loop. It must never give out a connection that is not
in a transaction, and a read must never see two states of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores import postgres, sqlite
from daypass.stores.backend import FEED_HEAD, Backend, UnusableDatabase
from daypass.stores.feed import feed_head
from daypass.stores.tx import end_all_sessions

T = TypeVar("T")


class Database:
    """One database, with a pool of read connections and one for writing. Safe to share between threads."""

    def __init__(self, backend: Backend, readers: int) -> None:
        self._backend = backend
        self.readers = readers
        """How many threads may read at the same time, beside one that polls."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._backend.name

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Runs `fn` in one read-only snapshot. Raises DaypassError(UNAVAILABLE) when the database cannot answer.

        A connection that had died in the pool is replaced once: reads can be repeated.
        """
        try:
            try:
                return self._read(fn)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._read(fn)
        except (DBAPIError, PoolTimeout) as error:
            raise unavailable(error) from error

    def _read(self, fn: Callable[[Connection], T]) -> T:
        with self._backend.readers.begin() as conn:
            return fn(conn)

    @contextmanager
    def write_transaction(self) -> Iterator[Connection]:
        """A transaction that may write; it commits durably at the end of the block, or rolls back when that raises.

        SQLite: waits for the file lock that all writing processes share, then BEGIN IMMEDIATE. PostgreSQL: READ
        COMMITTED with statement and lock timeouts. Driver errors pass unchanged: the journal tells them apart.
        """
        with self._backend.write_lock():
            with self._backend.writer.begin() as conn:
                notes = conn.info
                notes.pop(FEED_HEAD, None)
                yield conn
            head = notes.pop(FEED_HEAD, None)
            if head is not None:
                self._backend.committed(head)

    def incarnation(self) -> str:
        """Which life of the database this is: restored or failed over, it differs. Up to 16 characters."""
        return self.read(feed_head).incarnation

    def settle(self, now: int) -> bool:
        """Notices, at start, that the file is an older or another one than was last written here (SQLite).

        Then the database gets a new incarnation, so that no session's `seen` is compared with positions of another
        life; and since it may have forgotten revocations, every session there is ends (attack A105). Returns whether
        that was so. `now`: ms.
        """
        with self.write_transaction() as conn:
            restored = self._backend.settle(conn)
            if restored:
                end_all_sessions(conn, now)
        return restored

    def check(self) -> None:
        """Raises UnusableDatabase when pages are corrupt, or DaypassError(UNAVAILABLE) when it cannot be reached."""
        wrong = self.read(self._backend.check)
        if wrong:
            raise UnusableDatabase(wrong)

    def close(self) -> None:
        """Closes every connection and the lock file."""
        self._backend.readers.dispose()
        self._backend.writer.dispose()
        self._backend.close()


def unavailable(error: Exception) -> DaypassError:
    """What a caller learns of a database error: nothing but that it may try again."""
    cause = getattr(error, "orig", None) or error
    return DaypassError(
        ErrorKind.UNAVAILABLE,
        "The service is unavailable. Please try again shortly.",
        private={"database": f"{type(cause).__name__}: {cause}"[:500]},
    )


def open_database(url: str, *, readers: int = 4) -> Database:
    """Opens `sqlite:///PATH` (four slashes for an absolute path) or `postgresql://…`; makes the SQLite file if needed.

    PostgreSQL is not connected to before the first use. One more connection than `readers` is kept for polling.

    Raises:
        ValueError: the URL is no URL of either kind. The message does not repeat it: it may hold a password.
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
            return Database(sqlite.open_backend(parsed.database, readers + 1), readers)
        except (OSError, DBAPIError) as error:
            raise UnusableDatabase(
                f"the SQLite file cannot be opened: {getattr(error, 'orig', None) or error}"
            ) from error
    if kind in ("postgresql", "postgres"):
        return Database(postgres.open_backend(parsed, readers + 1), readers)
    raise ValueError("the database URL must begin with sqlite:/// or postgresql://")
