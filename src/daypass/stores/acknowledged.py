"""Acknowledged facts of this node's processes, on its own disk: the end of each log, and revocations.

A database can lose what it has confirmed: a file of SQLite is replaced by an older one, or a standby of PostgreSQL that
lags is promoted. A running process sends such records again from memory. If it ended with the primary, the next start
finds here what the database lacks. It must never delay a commit: only revocations, which are rare, wait for the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
from sqlalchemy import Connection, func, inspect, select

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import is_spent
from daypass.stores.log_heads import NOTE_BYTES, FeedHead, LogHead, LogHeads, Losses
from daypass.stores.records import audit_records

_SYNC_SECONDS: Final = 1.0
_COMPACTED_BYTES: Final = 1_048_576
_KEPT_MS: Final = 24 * 3_600_000  # beyond the time at which a revocation is spent: clocks differ

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Revocation).decode


class Acknowledged:
    """Files beside `base`: `-lock` with heads, `-live`, which running processes lock, and `-revocations`.

    Args:
        base: the SQLite file; for PostgreSQL a name in the data directory.
        lock: between all processes; its holder notes commits. None: this object has its own, and the database's disk is
            another machine's, so that notes must reach the disk by themselves.
    """

    def __init__(self, base: Path, lock: Callable[[], AbstractContextManager[None]] | None = None) -> None:
        base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.side = _opened(f"{base}-lock")
        self._live = _opened(f"{base}-live")
        self._kept = Path(f"{base}-revocations")
        self._compact_at = _COMPACTED_BYTES
        self._heads = LogHeads(self.side)
        self._known: set[str] = set()
        self._alone = lock is None
        self._lock = lock or self._own_lock
        self._threads = threading.RLock()
        self._synced = time.monotonic()
        self._failed = False

    @contextmanager
    def _own_lock(self) -> Iterator[None]:
        with self._threads:
            fcntl.flock(self.side, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self.side, fcntl.LOCK_UN)

    # --- After each commit

    def note_log(self, head: LogHead) -> None:
        """Writes the newest record of a log. One write of fixed size; another process survives this one's death."""
        with self._reporting():
            if self._alone and head.log not in self._known:
                with self._lock():  # it gets a place of its own
                    self._heads.note(head)
                self._known.add(head.log)
            else:
                self._heads.note(head)
            if self._alone and time.monotonic() - self._synced > _SYNC_SECONDS:
                self._synced = time.monotonic()
                threading.Thread(target=os.fdatasync, args=(self.side,), daemon=True).start()

    def note_feed(self, identity: str, head: FeedHead) -> None:
        """Writes which database it is and the last feed head."""
        line = f"{identity} {head.epoch} {head.position}".ljust(NOTE_BYTES - 1) + "\n"
        os.pwrite(self.side, line.encode("ascii"), 0)

    def keep(self, revocations: Sequence[Revocation]) -> None:
        """Adds revocations, or their new states. Durable when it returns, unless the database has the same disk."""
        with self._reporting(), self._lock() if self._alone else contextlib.nullcontext():
            with _private(self._kept, os.O_APPEND) as file:
                file.write(b"".join(_encode(revocation) + b"\n" for revocation in revocations))
                file.flush()
                if self._alone:
                    os.fdatasync(file.fileno())
                size = file.tell()
            if size > self._compact_at:
                self._compact()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """The commit is durable whether it is noted or not, so a failure here is reported and not raised."""
        try:
            yield
        except OSError as error:
            if not self._failed:
                from daypass.observability import logs  # noqa: PLC0415  # worker processes do not load the logger

                logs.get().error("acknowledged.not_noted", error=str(error))
            self._failed = True
        else:
            self._failed = False

    def _compact(self) -> None:
        now = time.time_ns() // 1_000_000
        draft = self._kept.with_name(f"{self._kept.name}.new")
        with _private(draft, os.O_TRUNC) as file:
            file.write(b"".join(_encode(revocation) + b"\n" for revocation in self.kept(now - _KEPT_MS)))
            file.flush()
            os.fdatasync(file.fileno())
            self._compact_at = max(_COMPACTED_BYTES, 2 * file.tell())
        draft.replace(self._kept)

    # --- At start

    def feed_note(self) -> list[str]:
        """The words that `note_feed` wrote; [] in a new file."""
        return os.pread(self.side, NOTE_BYTES, 0).decode("ascii", "replace").split()

    def heads(self) -> list[LogHead]:
        """The newest acknowledged record of each log."""
        return self._heads.all()

    def kept(self, now: int) -> list[Revocation]:
        """The revocations that can still match a session at `now` (ms), each in its newest state."""
        found: dict[str, Revocation] = {}
        try:
            lines = self._kept.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):  # a line that was cut off by the end of the machine
                revocation = _decode(line)
                found[revocation.id] = revocation
        return [revocation for revocation in found.values() if not is_spent(revocation, now)]

    def discard(self, lost: Sequence[LogHead]) -> None:
        """Known losses are not reported again."""
        with self._lock():
            self._heads.discard({head.log for head in lost})

    def forget(self, lost: Sequence[LogHead]) -> None:
        """As `discard`. If no other process runs, all logs have ended: none is noted any more. Call it before `join`."""
        alone = not self.others()
        with self._lock():
            if alone:
                self._heads.forget()
                self._known.clear()
            else:
                self._heads.discard({head.log for head in lost})

    def clear(self) -> None:
        """Forgets everything: it is about another database."""
        with self._lock():
            self._heads.forget()
            self._known.clear()
            self._kept.unlink(missing_ok=True)

    def join(self) -> None:
        """Takes a shared lock and keeps it, so that other processes see that this one is running."""
        with self._lock():
            fcntl.flock(self._live, fcntl.LOCK_SH)

    def others(self) -> bool:
        """Whether another process has joined. Call it before `join`."""
        with self._lock():  # one at a time, because the exclusive lock below would look like another process
            try:
                fcntl.flock(self._live, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(self._live, fcntl.LOCK_UN)
            return False

    def close(self) -> None:
        os.close(self._live)
        os.close(self.side)


def losses(conn: Connection, heads: Sequence[LogHead]) -> Losses:
    """Which of the acknowledged heads the record lacks, and how many records are missing up to them.

    A record with another chain hash at the position of a head is another history. The head counts as lost, but no
    record counts as missing.
    """
    if not heads or not inspect(conn).has_table(audit_records.name):
        return Losses()
    lost, missing, since = [], 0, 0
    c = audit_records.c
    for head in heads:
        at_head = select(c.chain).where(c.log == head.log, c.seq == head.seq)
        chain = conn.execute(at_head).scalar_one_or_none()
        if chain is not None and bytes(chain) == head.chain:
            continue
        newest = conn.execute(select(func.max(c.seq), func.max(c.at)).where(c.log == head.log)).one()
        lost.append(head)
        missing += max(0, head.seq - (-1 if newest[0] is None else newest[0]))
        since = min(since or newest[1] or head.at, newest[1] or head.at)
    return Losses(tuple(lost), missing, since, max((head.at for head in lost), default=0))


def _opened(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _private(path: Path, flags: int) -> IO[bytes]:
    """A file that only its owner can read, to write to."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | flags, 0o600), "wb")
