"""The local spool: batches of records that the database could not take, in one SQLite file for each process.

A batch is durable when `append` returns, and each batch carries a signature, because the hash chain of a log has no
key. The file is locked by its owner; when the owner has exited, any process can lock it and drain it. A batch is never
removed before it is in the database, and never changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from daypass.audit.log import LogBatch, Position
from daypass.crypto.keys import SpoolSigner
from daypass.domain.directory import Revocation
from daypass.observability import logs
from daypass.stores.log_heads import NOTE_BYTES, LogHead, LogHeads
from daypass.stores.sqlite import is_disk_fault

_PRAGMAS: Final = (
    "page_size=8192",
    "journal_mode=WAL",
    "synchronous=FULL",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "journal_size_limit=16777216",
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS batches (
  id INTEGER PRIMARY KEY, log TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, start BLOB NOT NULL,
  end BLOB NOT NULL, key TEXT NOT NULL, signature BLOB NOT NULL, payload BLOB NOT NULL, UNIQUE (log, first))
"""
_VERSION: Final = b"daypass spool 1\0"
_OVERHEAD: Final = 256  # bytes of one batch beside its payload
_MAX_BATCHES: Final = 2_048  # read at once
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 50, 0.01
_SHRINK_BYTES: Final = 4_194_304  # an empty file that is larger is made small again


class SpoolError(Exception):
    """The spool cannot be used now: it is full, or its disk fails. The message says which."""


class SpoolTampered(Exception):
    """The content of a spool was not written by this installation, was altered or does not fit the record."""


class SpoolKeyUnknown(Exception):
    """A batch is signed with a key that this process does not know yet."""


class SpooledBatch(NamedTuple):
    """One batch as it was appended. `records` and `sessions` are rows in the order of `sql.RECORD_COLUMNS` and
    `sql.SESSION_COLUMNS`. `size`: bytes that it takes in the spool.
    """

    id: int
    size: int
    log: str
    start: Position
    end: Position
    records: list[tuple[Any, ...]]
    sessions: list[tuple[Any, ...]]
    revocations: list[Revocation]


class _Payload(msgspec.Struct, frozen=True, array_like=True):
    records: list[tuple[Any, ...]]
    sessions: list[tuple[Any, ...]]
    revocations: list[Revocation]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Payload).decode


@dataclass(frozen=True, slots=True)
class SpoolDirectory:
    """The directory of spools, and the size of each."""

    directory: Path  # made with mode 0700 if it is absent
    most_bytes: int  # maximum size of the batches in one spool
    signer: SpoolSigner  # signs and verifies batches

    def create(self, name: str) -> Spool:
        """A new spool of this process. Raises OSError or sqlite3.Error."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.directory / f"{name}.db"
        lock, tries = lock_of(file.with_suffix(".lock")), 0
        while lock is None and tries < _LOCK_TRIES:  # a process that looks for abandoned spools has it for a moment
            time.sleep(_LOCK_PAUSE_SECONDS)
            lock, tries = lock_of(file.with_suffix(".lock")), tries + 1
        if lock is None:
            raise BlockingIOError(f"another process drains {file}")
        made = not file.exists()
        try:
            return Spool(file, lock, self)
        except BaseException:
            if made:  # it is empty, and must not be taken for a damaged spool
                remove(file)
            os.close(lock)
            raise

    def abandoned(self) -> Iterator[Spool]:
        """Locks and opens the spools whose owners have exited, one at a time. Close each before the next."""
        for file in sorted(self.directory.glob("*.lock")):
            lock = lock_of(file)
            if lock is None:
                continue
            database = file.with_suffix(".db")
            if not database.exists():  # its owner was killed while it removed or made it
                file.unlink(missing_ok=True)
                os.close(lock)
                continue
            try:
                spool = Spool(database, lock, self)
            except sqlite3.Error as error:
                if is_disk_fault(error):  # its records may be good: it is tried again later
                    logs.get().warning("spool.not_opened", file=database.name, error=str(error))
                    os.close(lock)
                    continue
                reject(database)
                file.unlink(missing_ok=True)
                os.close(lock)
                raise SpoolTampered(f"{database} is not readable: {error}") from error
            yield spool

    def revocations(self) -> list[Revocation]:
        """The revocations in all spools here, also in those of running processes. Raises SpoolTampered, SpoolKeyUnknown,
        OSError.
        """
        revocations: list[Revocation] = []
        for file in sorted(self.directory.glob("*.db")):
            try:
                with contextlib.closing(_connect(file)) as conn:
                    rows = conn.execute("SELECT * FROM batches ORDER BY id").fetchall()
            except sqlite3.Error as error:
                raise SpoolTampered(f"{file} is not readable: {error}") from error
            for row in rows:
                revocations += open_batch(row, self.signer, file).revocations
        return revocations

    def undrained(self) -> int:
        """How many spools here hold records, also those of other processes: each has heads until it is drained."""
        sizes = [file.stat().st_size for file in self.directory.glob("*.lock") if file.exists()]
        return sum(size > NOTE_BYTES for size in sizes)

    def rejected(self) -> list[Path]:
        """The spools that were set aside by `reject`."""
        return sorted(self.directory.glob(f"*{REJECTED}"))


class Spool:
    """One spool, locked by this process. Safe to share between threads. `SpoolDirectory` opens it.

    `events` and `bytes` are the number of records in it and the size of their batches.
    """

    def __init__(self, file: Path, lock: int, place: SpoolDirectory) -> None:
        self.file = file
        self._lock_fd = lock
        self._place = place
        self._lock = threading.Lock()
        self._heads = LogHeads(lock)
        self._was_full = False
        if not file.exists():
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
        self._conn = _connect(file)
        try:
            self._conn.execute(_SCHEMA)
            found = self._conn.execute(
                "SELECT coalesce(sum(last - first + 1), 0), coalesce(sum(length(payload) + ?), 0) FROM batches",
                (_OVERHEAD,),
            ).fetchone()
        except sqlite3.Error:
            self._conn.close()
            raise
        self.events, self.bytes = int(found[0]), int(found[1])

    def append(self, batch: LogBatch) -> None:
        """Makes the batch durable. Raises SpoolError; the batch is then not in the spool."""
        payload = _encode(_Payload(batch.records, batch.sessions, batch.revocations))
        log = str(batch.records[0][0])
        size = len(payload) + _OVERHEAD
        signed = _signed(log, batch.start, batch.end, payload)
        with self._lock:
            if self.bytes + size > self._place.most_bytes:
                self._was_full = True
                raise SpoolError(self._full())
            try:
                key, signature = self._place.signer.sign(signed)
                row = (
                    log,
                    batch.start.seq + 1,
                    batch.end.seq,
                    batch.start.chain,
                    batch.end.chain,
                    key,
                    signature,
                    payload,
                )
                self._execute(
                    "INSERT INTO batches (log, first, last, start, end, key, signature, payload) VALUES (?,?,?,?,?,?,?,?)",
                    row,
                )
            except (sqlite3.Error, LookupError) as error:
                raise SpoolError(f"the spool cannot be written: {error}") from error
            self.events += batch.end.seq - batch.start.seq
            self.bytes += size
            self._note(LogHead(log, batch.end.seq, batch.end.chain))

    def _full(self) -> str:
        return f"the spool is full: it holds {self.bytes:,} of {self._place.most_bytes:,} bytes (spool.max_bytes)"

    def check(self) -> None:
        """Raises SpoolError unless the spool can take batches again: the disk can be written, and a spool that was full
        is half empty.
        """
        with self._lock:
            if self._was_full and self.bytes * 2 > self._place.most_bytes:
                raise SpoolError(self._full())
            self._was_full = False
            try:
                self._execute("PRAGMA user_version = 1", ())
            except sqlite3.Error as error:
                raise SpoolError(f"the spool cannot be written: {error}") from error

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        self._conn.execute("BEGIN IMMEDIATE")
        try:
            self._conn.execute(statement, values)
            self._conn.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._conn.execute("ROLLBACK")
            raise

    def _note(self, head: LogHead) -> None:
        """The head shows later that the end of the file is missing. It is not needed to read the file."""
        try:
            self._heads.note(head)
        except OSError as error:
            logs.get().warning("spool.head_not_noted", error=str(error))

    def heads(self) -> list[LogHead]:
        """The last acknowledged record of each log since the spool was last empty."""
        return self._heads.all()

    def oldest(self, most_bytes: int) -> list[SpooledBatch]:
        """The oldest batches, all of one log, in order; [] when the spool is empty. At least one, else at most so many
        bytes.

        Raises SpoolTampered, SpoolKeyUnknown; SpoolError when the disk is at fault.
        """
        batches: list[SpooledBatch] = []
        bytes_left = most_bytes
        try:
            with self._lock:
                rows = self._conn.execute("SELECT * FROM batches ORDER BY id LIMIT ?", (_MAX_BATCHES,)).fetchall()
        except sqlite3.Error as error:
            fault = SpoolError if is_disk_fault(error) else SpoolTampered
            raise fault(f"{self.file} is not readable: {error}") from error
        for row in rows:
            batch = open_batch(row, self._place.signer, self.file)
            if batches and (batch.log != batches[0].log or bytes_left < batch.size):
                break
            bytes_left -= batch.size
            batches.append(batch)
        return batches

    def discard(self, batches: Sequence[SpooledBatch]) -> None:
        """Removes the oldest batches, which are in the database. If that fails or is lost, they are drained once more,
        which changes nothing. So it need not be durable at once, and does not wait for the disk.
        """
        with self._lock:
            try:
                self._conn.execute("PRAGMA synchronous=NORMAL")
                self._execute("DELETE FROM batches WHERE id <= ?", (batches[-1].id,))
            except sqlite3.Error as error:
                raise SpoolError(f"the spool cannot be written: {error}") from error
            finally:
                self._conn.execute("PRAGMA synchronous=FULL")
            self.events -= sum(batch.end.seq - batch.start.seq for batch in batches)
            self.bytes -= sum(batch.size for batch in batches)

    def forget(self) -> None:
        """Call it when every record is in the database: removes the heads, and gives back the space of the file."""
        with self._lock:
            if self.events:
                return
            with contextlib.suppress(OSError):
                self._heads.forget()
            with contextlib.suppress(sqlite3.Error, OSError):
                if self.file.stat().st_size > _SHRINK_BYTES:
                    self._conn.execute("VACUUM")
                self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self, *, ended: bool = False) -> None:
        """Releases the lock. An empty spool is removed if the end of its process is noted in the database (`ended`);
        otherwise it remains for the process that adopts it.
        """
        with self._lock:
            self._conn.close()
            if ended and not self.events and not self._heads.all():
                remove(self.file)
            os.close(self._lock_fd)

    def reject(self) -> Path:
        """Renames the file, so that no process drains it, and closes the spool. Returns its new path."""
        with self._lock:
            self._conn.close()
            path = reject(self.file)
            self.file.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._lock_fd)
            return path


def open_batch(row: Sequence[Any], signer: SpoolSigner, file: Path) -> SpooledBatch:
    """The batch in a row of the table, when its signature is genuine. `file` is for the message.

    Raises SpoolTampered, SpoolKeyUnknown.
    """
    id_, log, first, last, start, end, key, signature, payload = row
    if not all(isinstance(value, bytes) for value in (start, end, signature, payload)):  # SQLite stores any type
        raise SpoolTampered(f"{file}: batch {id_} has values of other types")
    try:
        begins, ends = Position(first - 1, start), Position(last, end)
        genuine = signer.verify(str(key), _signed(log, begins, ends, payload), signature)
    except LookupError:
        raise SpoolKeyUnknown(f"{file}: the key {key} is not known here") from None
    except (TypeError, ValueError, OverflowError, AttributeError):
        genuine = False
    if not genuine:
        raise SpoolTampered(f"{file}: the signature of batch {id_} is wrong")
    content = _decode(payload)
    size = len(payload) + _OVERHEAD
    return SpooledBatch(id_, size, log, begins, ends, content.records, content.sessions, content.revocations)


def _signed(log: str, start: Position, end: Position, payload: bytes) -> bytes:
    """The bytes under the signature of a batch."""
    numbers = (start.seq + 1).to_bytes(8, "big") + end.seq.to_bytes(8, "big")
    return _VERSION + log.encode() + numbers + start.chain + end.chain + sha256(payload).digest()


def _connect(file: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, check_same_thread=False, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            conn.execute(f"PRAGMA {pragma}")
    except BaseException:
        conn.close()
        raise
    return conn


# --- The files of a spool beside its content: its lock, how it is set aside, and how it is removed


REJECTED: Final = ".rejected"


def lock_of(file: Path) -> int | None:
    """The locked file descriptor; None while another process has the lock, or when one has just removed the spool."""
    try:
        lock = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.stat().st_ino == os.fstat(lock).st_ino:  # not removed in between by the process that drained it
            return lock
    os.close(lock)
    return None


def remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    file.with_suffix(".lock").unlink(missing_ok=True)


def reject(file: Path) -> Path:
    """Renames a spool and its write-ahead log, so that no process drains it. Returns the new path of the file."""
    target = Path(f"{file}{REJECTED}")
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{file}{suffix}")
        if part.exists():
            part.rename(Path(f"{target}{suffix}"))
    return target
