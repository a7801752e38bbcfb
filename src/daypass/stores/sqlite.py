"""SQLite: WAL, synchronous=FULL, and writers that queue on a file lock instead of starving one another.

SQLite's own busy handler polls, so under load a writer can starve for seconds. `flock` on a side file makes the writers
of all processes wait in the kernel, and a second lock makes them take turns. The first side file also stores which
file, epoch and feed position were written last, so that an older copy in its place is detected. The database file must
never be opened by anything but SQLite, because closing any file descriptor of it would release the locks of the whole
process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from daypass.stores.acknowledged import Acknowledged
from daypass.stores.backend import Backend
from daypass.stores.feed import feed_head
from daypass.stores.log_heads import FeedHead
from daypass.stores.meta import Checkpointer

_BUSY_MS = 5_000
_POOL_WAIT_SECONDS = 5.0
_QUICK_CHECK_BYTES = 2**30
"""Above this size the start checks the structure of the schema only, to stay bounded in time."""
_PRAGMAS = (
    f"busy_timeout={_BUSY_MS}",
    "page_size=8192",  # of a new file: a batch is written in half as many pages
    "synchronous=FULL",
    "trusted_schema=OFF",
    "journal_size_limit=67108864",
    "wal_autocheckpoint=2000",  # pages: 16 MiB, so that the log restarts less often; see `Checkpointer`
)
_ROOM_BYTES = 2**20  # with less than this, a batch may not fit on the disk
_TURN_SECONDS = 0.25  # maximum wait to become the next writer: many times the length of a turn
_TURN_POLL_SECONDS = 0.0005
_UNDO_IN_MEMORY = "temp_store=MEMORY"
"""SQLite stores the pages that a savepoint changes, for a rollback. They hold the record, so they must not go to a
temporary file.
"""

# Without an adapter the driver searches for one for every bytes parameter, which costs ten times the binding itself.
sqlite3.register_adapter(bytes, bytes)


class SqliteFile:
    """The database file, its side file and the lock between writers of all processes and threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Created here only to set the mode. It did not exist, so this process holds no lock on it.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self.acknowledged = Acknowledged(path, self.lock)
        self._side = self.acknowledged.side
        self._next = _side_file(f"{path}-next")
        self._threads = threading.Lock()
        self._text = str(path)
        self._inode = _inode(self._text)
        self._wal = f"{path}-wal"
        self._wal_inode = 0
        self._anchor: sqlite3.Connection | None = None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Waits for every other writer, then checks that the paths still name the open files.

        A writer that waits for the lock holds a second lock, which marks it as the next in turn. Otherwise a writer
        that has just released the lock and is still running would take it again before the waiting ones wake up. On a
        busy machine this could last forever.
        """
        with self._threads:
            in_turn = self._take_turn()
            try:
                fcntl.flock(self._side, fcntl.LOCK_EX)
            finally:
                if in_turn:
                    fcntl.flock(self._next, fcntl.LOCK_UN)
            try:
                self._refuse_replaced()
                yield
            finally:
                fcntl.flock(self._side, fcntl.LOCK_UN)

    def _take_turn(self) -> bool:
        """Becomes the next in turn. Returns False when another process is the next for too long: a process that was
        stopped while it waited must not block the running ones.
        """
        until = time.monotonic() + _TURN_SECONDS
        while True:
            try:
                fcntl.flock(self._next, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                time.sleep(_TURN_POLL_SECONDS)
            else:
                return True

    def _refuse_replaced(self) -> None:
        """Data written to a file that has been unlinked is lost, so it must not count as durable."""
        if self._is_replaced():
            raise _replaced("the database file was removed or replaced while in use: restart every process")
        if self._is_log_removed():
            self._rescue()
            raise _replaced("the write-ahead log was removed while in use: restart every process")

    def _is_replaced(self) -> bool:
        return _inode(self._text) != self._inode

    def _is_log_removed(self) -> bool:
        return self._wal_inode != 0 and _inode(self._wal) != self._wal_inode

    def suspect(self) -> bool:
        """Whether the paths no longer name the open files, or the disk is nearly full."""
        disk = os.fstatvfs(self._side)
        return self._is_replaced() or self._is_log_removed() or disk.f_bavail * disk.f_frsize < _ROOM_BYTES

    def _rescue(self) -> None:
        """Copies the contents of the unlinked write-ahead log to the database file, because they cannot be found
        later.
        """
        if self._anchor is not None:
            with contextlib.suppress(sqlite3.Error):
                self._anchor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def watch_log(self, anchor: sqlite3.Connection) -> None:
        """Requires the write-ahead log to stay the same file from now on. `anchor` prevents SQLite from removing it."""
        self._anchor = anchor  # `close` closes it, also when it cannot be used
        anchor.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        self._wal_inode = _inode(self._wal)

    def note(self, head: FeedHead) -> None:
        """Writes the last feed head to the side file. One write of fixed size."""
        self.acknowledged.note_feed(str(self._inode), head)

    def is_replaced_by(self, conn: Connection) -> bool:
        """Whether the database is not provably the one last written here, or a newer state of it."""
        head, words = feed_head(conn), self.acknowledged.feed_note()
        if not words and not head.position:  # just created
            self.note(head)
            return False
        same = len(words) == 3 and words[:2] == [str(self._inode), head.epoch]
        return not (same and words[2].isascii() and words[2].isdigit() and int(words[2]) <= head.position)

    def close(self, writing: _Writing) -> None:
        """Closes the files when the current transaction of `writing` has ended."""
        with self._threads:
            writing.give_back()
            if self._anchor is not None:
                self._anchor.close()
            self.acknowledged.close()
            os.close(self._next)


class _Writing:
    """The one connection that writes. It stays out of the pool: giving it back and taking it again for each transaction
    costs as much as the statements of a small batch.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conn: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction. Call it under the lock between writers. After an error the next one gets the connection from
        the pool, which resets it.
        """
        if self._conn is None:
            self._conn = self._engine.connect()
        try:
            with self._conn.begin():
                yield self._conn
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        """Returns the connection to the pool."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


def _inode(path: str) -> int:
    """0 when there is no such file."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116  # of a text: `Path.stat` is half a dozen calls more
    except FileNotFoundError:
        return 0


class ReplacedFile(sqlite3.OperationalError):
    """The database file or its write-ahead log is not the one that this process opened. Only a restart helps."""


def _replaced(why: str) -> OperationalError:
    return OperationalError(None, None, ReplacedFile(why))


def needs_restart(error: BaseException) -> bool:
    """Whether the database stays unusable for this process, however long it waits."""
    return isinstance(getattr(error, "orig", None), ReplacedFile)


def _side_file(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def open_backend(path: str, readers: int) -> Backend:
    """Opens or creates the file. WAL is switched on under the lock, because two processes that start at once would
    collide.
    """
    file = SqliteFile(Path(path).absolute())
    checkpointer = Checkpointer(partial(_connect, file.path, _PRAGMAS))
    writer = _engine(file.path, 1, read_only=False)
    writing = _Writing(writer)

    @event.listens_for(writer, "commit")
    def commit(conn: Connection) -> None:
        checkpointer.note(conn.connection.driver_connection.total_changes)  # type: ignore[union-attr]  # there is one

    def close() -> None:
        checkpointer.close()
        file.close(writing)

    try:
        _switch_on_wal(file, writer)
        file.watch_log(_connect(file.path, _PRAGMAS))
    except BaseException:
        writer.dispose()
        close()
        raise
    return Backend(
        name="sqlite",
        unanswered=(),
        readers=_engine(file.path, readers, read_only=True),
        writer=writer,
        begin=writing.begin,
        write_lock=file.lock,
        committed=file.note,
        acknowledged=file.acknowledged,
        is_replaced=file.is_replaced_by,
        check=_check,
        clock=lambda _conn: None,  # the machine's clock, which this process also uses
        statement_timeout=lambda _conn, _seconds: nullcontext(),
        suspect=file.suspect,
        warning=lambda _conn: "",
        close=close,
    )


def _switch_on_wal(file: SqliteFile, writer: Engine) -> None:
    with file.lock(), writer.connect() as conn:
        mode = conn.connection.driver_connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]  # type: ignore[union-attr]  # it is connected
        if mode != "wal":
            raise OSError(f"its file system cannot hold a write-ahead log (journal mode {mode})")


def _connect(path: Path, pragmas: Sequence[str]) -> sqlite3.Connection:
    # mode=rw: a file that vanished must be an error, never a new empty database.
    conn = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        timeout=_BUSY_MS / 1000,
    )
    try:
        for pragma in pragmas:
            conn.execute(f"PRAGMA {pragma}")
    except BaseException:
        conn.close()
        raise
    return conn


def _engine(path: Path, size: int, *, read_only: bool) -> Engine:
    pragmas = (*_PRAGMAS, "query_only=ON" if read_only else _UNDO_IN_MEMORY)
    engine = create_engine(
        "sqlite://",
        creator=partial(_connect, path, pragmas),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_SECONDS,
        hide_parameters=True,  # an error must not show the values of a row
    )
    start = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        run(conn, start)

    return engine


def _check(conn: Connection) -> str:
    """Runs `PRAGMA quick_check` for files up to a size limit. For larger files it only checks that the schema can be
    read.
    """
    try:
        pages, page = (conn.execute(text(f"PRAGMA page_{what}")).scalar_one() for what in ("count", "size"))
        conn.execute(text("SELECT count(*) FROM sqlite_schema")).scalar_one()
        rows: list[Any] = []
        if pages * page <= _QUICK_CHECK_BYTES:
            rows = [row[0] for row in conn.execute(text("PRAGMA quick_check(1)"))]
    except Exception as error:
        if isinstance(getattr(error, "orig", None), sqlite3.OperationalError):
            raise  # busy or gone, not corrupt
        return _corrupt(getattr(error, "orig", None) or error)
    wrong = [row for row in rows if row != "ok"]
    return _corrupt(wrong[0]) if wrong else ""


def _corrupt(why: object) -> str:
    return f"the SQLite file is corrupt ({why}): restore it from a backup, without the -wal and -shm files that are beside it now"


# --- Statements on SQLite's own connection, for those that each batch of the journal runs


def run(conn: Connection, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Runs a statement in the transaction of `conn`. Raises SQLAlchemy's errors, without the statement's values."""
    driver = cast(sqlite3.Connection, conn.connection.driver_connection)
    try:
        return driver.execute(statement, parameters)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True) from error


# --- Sqlite errors


_READ_ONLY: Final = (
    "It cannot be written: check the owner and mode of the file, of the -wal and -shm files beside it and of its directory, "
    "and the mount."
)
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "The disk is full: free some space.",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "It cannot be opened: check the owner and mode of the file and of its directory.",
    sqlite3.SQLITE_PERM: "It cannot be opened: check the owner and mode of the file and of its directory.",
    sqlite3.SQLITE_IOERR: "The disk reports an error: check its free space, quota and health.",
    sqlite3.SQLITE_BUSY: "Another process holds its lock: check which other programs use the file.",
}


def code_of(error: object) -> int:
    """The primary result code of the driver's error, also inside one of SQLAlchemy; 0 for other errors."""
    return int(getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", 0)) & 0xFF


def advice(error: object) -> str:
    """A warning for the operator."""
    return _ADVICE.get(code_of(error), "Check the file and its disk.")


def is_disk_fault(error: object) -> bool:
    """Whether the disk, its space, the file's mode or a lock is at fault. The content of the file may be good then."""
    return code_of(error) in _ADVICE
