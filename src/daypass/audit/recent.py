"""The batches of the last minutes, to be sent again after a failover of PostgreSQL that lost them.

With asynchronous replication the new primary may lack transactions that the old one had confirmed. The log there ends
earlier than it was acknowledged. Records, sessions and consumed one-time proofs of this process are rows, so they are
sent again unchanged. Directory changes are not; they are named. It must never send rows that do not continue the log in the database.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Connection

from daypass.audit.log import Batch, Position
from daypass.audit.spool import SpooledBatch
from daypass.audit.sql import RECORD_COLUMNS, Statements, head
from daypass.observability import logs
from daypass.stores.log_heads import LogHead

SECONDS: Final = 300.0
"""How long a batch is kept."""
MAX_BYTES: Final = 33_554_432
"""The bytes of events and sessions that are kept; the oldest batches go first."""
MAX_NAMED: Final = 20
_ROW_BYTES: Final = 400  # of a row beside its event, roughly
_DATA: Final = RECORD_COLUMNS.index("bytes")
_SEQ: Final = RECORD_COLUMNS.index("seq")
_OPERATION: Final = RECORD_COLUMNS.index("operation")


Rows: TypeAlias = Batch | SpooledBatch
"""A batch of a log, from the journal or from a spool."""


class _Recent(NamedTuple):
    """The rows of one batch, and nothing else of it: its items refer to all objects of their requests. Held for minutes,
    they made single collections of garbage take 0.2 to 0.4 s.
    """

    at: float
    bytes: int
    start: Position
    end: Position
    records: list[tuple[Any, ...]]
    sessions: list[tuple[Any, ...]]
    changed: bool
    proofs: Sequence[tuple[Any, ...]]


class Restored(NamedTuple):
    """What was sent again for one log. `changes`: records of transactions whose directory changes are lost, each as its
    sequence number and operation, at most MAX_NAMED; `lost_changes`: their number.
    """

    log: str
    records: int
    first: int
    changes: tuple[tuple[int, str], ...]
    lost_changes: int

    def detail(self) -> dict[str, Any]:
        """For the record and the server's log."""
        named = [{"seq": seq, "operation": operation} for seq, operation in self.changes]
        return {
            "log": self.log,
            "records": self.records,
            "first": self.first,
            "lost_changes": self.lost_changes,
            "named": named,
        }


class RecentBatches:
    """Bounded by time and bytes. Safe to use from the writer's thread and that of the drain.

    `fails_over`: whether the database can lose what it has confirmed. If not, nothing is kept: memory that is used again
    at once is in the processor's cache, and holding it for minutes costs each request 8 µs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, fails_over: bool = True) -> None:
        self._clock = clock
        self.fails_over = fails_over
        self._recent: dict[str, deque[_Recent]] = {}
        self._ends: dict[str, LogHead] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def note(self, log: str, batch: Rows, *, changed: bool = False, proofs: Sequence[tuple[Any, ...]] = ()) -> None:
        """Holds a batch that the database has confirmed. `proofs`: rows of the one-time proofs that it consumed."""
        if not (self.fails_over and batch.records):
            return
        rows = len(batch.records) + len(batch.sessions) + len(proofs)
        size = sum([len(row[_DATA]) for row in batch.records]) + _ROW_BYTES * rows
        with self._lock:
            self._ends[log] = LogHead(log, batch.end.seq, batch.end.chain, time.time_ns() // 1_000_000)
            kept = self._recent.setdefault(log, deque())
            if kept and kept[-1].end != batch.start:
                self._bytes -= sum(each.bytes for each in kept)
                kept.clear()
            kept.append(
                _Recent(self._clock(), size, batch.start, batch.end, batch.records, batch.sessions, changed, proofs)
            )
            self._bytes += size
            self._trim()

    def _trim(self) -> None:
        oldest = self._clock() - SECONDS
        for log in [*self._recent]:
            kept = self._recent[log]
            while kept and (kept[0].at < oldest or self._bytes > MAX_BYTES):
                self._bytes -= kept.popleft().bytes
            if not kept:
                del self._recent[log]

    def ends(self) -> list[LogHead]:
        """The last record of each log that the database has confirmed."""
        with self._lock:
            return [*self._ends.values()]

    def forget(self, log: str) -> None:
        """The log is not continued."""
        with self._lock:
            self._ends.pop(log, None)
            self._bytes -= sum(each.bytes for each in self._recent.pop(log, ()))

    def restore(self, conn: Connection, statements: Statements) -> list[Restored]:
        """Sends the batches again that the database lacks, in the transaction of `conn`.

        A log that ends in the database at none of the kept positions is not changed: its writer detects that.
        """
        with self._lock:
            return [found for log in [*self._recent] if (found := self._restore(conn, statements, log)) is not None]

    def _restore(self, conn: Connection, statements: Statements, log: str) -> Restored | None:
        stored_end, kept = head(conn, log), [*self._recent[log]]
        end = None if stored_end is None else Position(*stored_end)
        starts = [each.start for each in kept]
        if end is None or end == kept[-1].end or end not in starts:
            return None
        lost = kept[starts.index(end) :]
        for each in lost:
            statements.insert_records(conn, each.records)
            if each.sessions:
                statements.add_sessions(conn, each.sessions)
            if each.proofs:
                statements.consume(conn, sorted(each.proofs))
        return _restored(log, end, lost)


def _restored(log: str, end: Position, lost: Sequence[_Recent]) -> Restored:
    changed = [(row[_SEQ], row[_OPERATION]) for each in lost if each.changed for row in each.records]
    records = sum(len(each.records) for each in lost)
    return Restored(log, records, end.seq + 1, tuple(changed[:MAX_NAMED]), len(changed))


def report(restored: Sequence[Restored]) -> None:
    """Writes to the server's log what was restored, and names what was not."""
    for each in restored:
        logs.get().critical("journal.records_restored", **each.detail())
