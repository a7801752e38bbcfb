"""SQLite: WAL, synchronous=FULL, and writers that queue on a file lock instead of starving one another.

SQLite's own busy handler polls, so under load some writer loses for seconds; `flock` on a side file makes writers of
all processes wait in the kernel, and a second one makes them take turns. The first side file also remembers which file,
incarnation and feed position were written last, so that an older copy put in its place is noticed. The database file
must never be opened by anything but SQLite: closing any descriptor of it would drop the locks of the whole process.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from daypass.stores.backend import Backend, FeedHead
from daypass.stores.checkpoint import Checkpointer
from daypass.stores.feed import feed_head, renew_incarnation

_BUSY_MS = 5_000
_POOL_WAIT_SECONDS = 5.0
_QUICK_CHECK_BYTES = 2**30
"""Above this size the start checks the structure of the schema only, to stay bounded in time."""
_NOTE_BYTES = 96
_PRAGMAS = (
    f"busy_timeout={_BUSY_MS}",
    "page_size=8192",  # of a new file: a batch is written in half as many pieces
    "synchronous=FULL",
    "trusted_schema=OFF",
    "journal_size_limit=67108864",
    "wal_autocheckpoint=2000",  # pages: 16 MiB, so that the log begins anew less often; `Checkpointer` does most before
)
_TURN_SECONDS = 0.25  # nobody waits longer to be the next: it is many times what a turn takes
_TURN_LOOK_SECONDS = 0.0005
_UNDO_IN_MEMORY = "temp_store=MEMORY"
"""What a savepoint has changed is kept to be undone: pages of the record, which belong into no file in /tmp."""

# Without an adapter the driver looks for one at every parameter of bytes, which costs it ten times the binding itself.
sqlite3.register_adapter(bytes, bytes)


class SqliteFile:
    """The database file, its side file and the lock between writers of all processes and threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Created by us for the mode alone. It did not exist, so no lock of ours can be on it.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._side = _side_file(f"{path}-lock")
        self._next = _side_file(f"{path}-next")
        self._threads = threading.Lock()
        self._inode = path.stat().st_ino

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Waits for every other writer; then makes sure that the path still names the file that is open.

        Who waits for the lock holds another one, which is for the next in turn: else a writer that has just had its
        turn, and still has the processor, would be back before those that are only waking up. For ever, on a busy machine.
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
        """Becomes the next in turn. False when another one stays it for too long: a process that was stopped while it
        waited must not hold up those that run.
        """
        until = time.monotonic() + _TURN_SECONDS
        while True:
            try:
                fcntl.flock(self._next, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                time.sleep(_TURN_LOOK_SECONDS)
            else:
                return True

    def _refuse_replaced(self) -> None:
        """What is written to a file that has lost its name is lost, so it must not count as durable."""
        try:
            same = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            cause = sqlite3.OperationalError("the database file was replaced while in use: restart every process")
            raise OperationalError(None, None, cause)

    def note(self, head: FeedHead) -> None:
        """Remembers, beside the database, what was written last. One write of fixed size."""
        line = f"{self._inode} {head.incarnation} {head.position}".ljust(_NOTE_BYTES - 1) + "\n"
        os.pwrite(self._side, line.encode("ascii"), 0)

    def settle(self, conn: Connection) -> bool:
        """Gives the database a new incarnation unless it is provably the one that was written here last, or later."""
        head = feed_head(conn)
        words = os.pread(self._side, _NOTE_BYTES, 0).decode("ascii", "replace").split()
        if not words and not head.position:  # just made
            self.note(head)
            return False
        same = len(words) == 3 and words[:2] == [str(self._inode), head.incarnation]
        if same and words[2].isascii() and words[2].isdigit() and int(words[2]) <= head.position:
            return False
        renew_incarnation(conn)
        return True

    def close(self) -> None:
        with self._threads:
            os.close(self._side)
            os.close(self._next)


def _side_file(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def open_backend(path: str, readers: int) -> Backend:
    """Opens or makes the file. WAL is switched on under the lock: two processes that start at once would collide."""
    file = SqliteFile(Path(path).absolute())
    checkpointer = Checkpointer(partial(_connect, file.path, _PRAGMAS))
    writer = _engine(file.path, 1, read_only=False)

    @event.listens_for(writer, "commit")
    def commit(conn: Connection) -> None:
        checkpointer.note(conn.connection.driver_connection.total_changes)  # type: ignore[union-attr]  # there is one

    def close() -> None:
        checkpointer.close()
        file.close()

    try:
        _switch_on_wal(file, writer)
    except BaseException:
        writer.dispose()
        close()
        raise
    return Backend(
        name="sqlite",
        readers=_engine(file.path, readers, read_only=True),
        writer=writer,
        write_lock=file.lock,
        committed=file.note,
        settle=file.settle,
        check=_check,
        close=close,
    )


def _switch_on_wal(file: SqliteFile, writer: Engine) -> None:
    with file.lock(), writer.connect() as conn:
        mode = conn.connection.driver_connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]  # type: ignore[union-attr]
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
        conn.exec_driver_sql(start)

    return engine


def _check(conn: Connection) -> str:
    """`PRAGMA quick_check` for files of a bounded size; beyond it, only whether the schema can be read."""
    try:
        pages, page = (conn.execute(text(f"PRAGMA page_{what}")).scalar_one() for what in ("count", "size"))
        conn.execute(text("SELECT count(*) FROM sqlite_schema")).scalar_one()
        rows: list[Any] = []
        if pages * page <= _QUICK_CHECK_BYTES:
            rows = [row[0] for row in conn.execute(text("PRAGMA quick_check(1)"))]
    except Exception as error:
        if isinstance(getattr(error, "orig", None), sqlite3.OperationalError):
            raise  # busy or gone, not corrupt
        return f"the SQLite file is corrupt ({getattr(error, 'orig', None) or error}): restore it from a backup"
    wrong = [row for row in rows if row != "ok"]
    return f"the SQLite file is corrupt ({wrong[0]}): restore it from a backup" if wrong else ""
