"""The journal: the only way to write. What it accepted is durable, and on the record, when it returns.

Requests put events on a queue; one writer thread (`writer.LogWriter`) commits whatever is waiting as one transaction and
wakes all who wait. It must never wait on the event loop, and never hold more than a bounded number of events. While the
database is away it refuses: there is no credential without its event.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from daypass.audit.batch import ChangeFunction, Item, JournalOptions, Outcome, unavailable
from daypass.audit.opening import Position
from daypass.audit.rows import session_row
from daypass.audit.writer import LogWriter
from daypass.domain.events import Event, EventType
from daypass.domain.session import SessionClaims
from daypass.observability import logs
from daypass.ports import Clock, Ids, Tx
from daypass.stores.engine import Database
from daypass.stores.feed import Change

T = TypeVar("T")

_WATCH_SECONDS = 0.1


class DurableJournal:
    """Implements `ports.Journal` over a `Database`. Belongs to the event loop that started it.

    Counters for metrics are plain attributes: `batches`, `events`, `commit_seconds` (sums), `failures`, `waiting`.

    Args:
        database: migrated.
        node: a name for this process that people know; it is in log.opened.
        on_changes: told, on the event loop and before the waiter of a write wakes, what that write put on the feed.
        on_batch: told of each commit the number of its events and its seconds; for histograms.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        node: str,
        options: JournalOptions | None = None,
        *,
        on_changes: Callable[[Sequence[Change]], None] | None = None,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:
        self._options = options or JournalOptions()
        self._clock = clock
        self._ids = ids
        self._on_changes = on_changes
        self._on_batch = on_batch
        self._writer = LogWriter(database, clock, node, self._options, self._tell)
        self._thread = threading.Thread(target=self._writer.run, name="daypass-journal", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._outstanding: deque[Item] = deque()  # in order of deadline
        self._accepting = False
        self.waiting = 0
        self.waiting_bytes = 0
        self.batches = 0
        self.events = 0
        self.commit_seconds = 0.0

    # --- Its life

    async def start(self) -> None:
        """Opens this process's log. Raises what the database raises when it cannot."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._writer.open, self._ids.session())
        self._thread.start()
        self._accepting = True
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._expire)

    async def close(self) -> None:
        """Refuses what is new, makes durable what waits, writes log.closed. Bounded by the deadline of a commit."""
        if not self._accepting:
            return
        self._accepting = False
        detail = {"log": self._writer.log}
        closed = self._put(Event(type=EventType.LOG_CLOSED, at=self._clock.now(), detail=detail))
        self._writer.queue.put(None)
        await asyncio.wait([closed])
        error = closed.exception()
        if error is not None:
            logs.get().warning("journal_not_closed", log=self._writer.log)
        await asyncio.to_thread(self._thread.join, self._options.deadline_seconds)
        if self._watch is not None:
            self._watch.cancel()

    def head(self) -> Position:
        """The last record of this log that is durable."""
        return self._writer.end

    @property
    def log(self) -> str:
        """This process's log: 32 hex digits."""
        return self._writer.log

    @property
    def failures(self) -> int:
        """Transactions that failed because the database did."""
        return self._writer.failures

    def problem(self) -> str:
        """What is wrong, for /readyz; "" when commits can be expected to work."""
        if self._writer.halted:
            return f"the audit log is halted: {self._writer.halted}"
        if not self._accepting:
            return "the journal is not open"
        since = self._writer.away_since
        if since:
            return f"the database has been away for {time.monotonic() - since:.0f} s"
        return "the journal's queue is full" if self._full() else ""

    # --- ports.Journal

    async def commit(self, event: Event, session: SessionClaims | None = None) -> None:
        """Event and session row in one transaction. Raises DaypassError(UNAVAILABLE) when it could not be made durable.

        Then it may still come to be on the record (the answer of the database was lost), but it gave no credential.
        """
        self._check()
        await self._put(event, session)

    async def write(self, change: Callable[[Tx], tuple[T, Event]], session: SessionClaims | None = None) -> T:
        """Runs `change` on the writer thread; what it wrote, the feed entries, its event and the row of
        `session` are one transaction.

        `change` may run more than once (when a transaction had to be rolled back): it must do nothing outside its
        `Tx`. A DaypassError that it raises undoes it alone and is raised here, and so is any other exception.
        """
        self._check()
        result: T = await self._put(None, session, change)
        return result

    # --- Waiting and waking, all on the event loop

    def _check(self) -> None:
        full = self.waiting >= self._options.queue or self.waiting_bytes >= self._options.queue_bytes
        if full or not self._accepting or self._writer.halted or (self._writer.away_since and self._away()):
            raise unavailable()

    def _away(self) -> bool:
        """Whether the database has been away for so long that waiting for it would only hold up the caller."""
        return time.monotonic() - self._writer.away_since > self._options.away_seconds

    def _full(self) -> bool:
        return self.waiting >= self._options.queue or self.waiting_bytes >= self._options.queue_bytes

    def _put(
        self, event: Event | None, session: SessionClaims | None = None, change: ChangeFunction | None = None
    ) -> asyncio.Future[Any]:
        loop = self._loop
        assert loop is not None
        row = session_row(session) if session is not None else None
        item = Item(loop.create_future(), loop.time() + self._options.deadline_seconds, event, row, change)
        self.waiting += 1
        self.waiting_bytes += item.size
        self._outstanding.append(item)
        self._writer.queue.put(item)
        return item.future

    def _tell(self, outcome: Outcome) -> None:
        """Called on the writer thread: one call into the loop for a whole batch."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._wake, outcome)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logs.get().warning("journal_loop_closed", log=self._writer.log)

    def _wake(self, outcome: Outcome) -> None:
        if outcome.changes and self._on_changes is not None:
            try:
                self._on_changes(outcome.changes)
            except Exception:  # noqa: BLE001 - it is durable; the poll of the feed will bring it
                logs.get().error("journal_on_changes_failed", log=self._writer.log, exc_info=True)
        size = 0
        for item, value in outcome.done:
            size += item.size
            if not item.future.done():
                item.future.set_result(value)
        for item, error in outcome.failed:
            size += item.size
            if not item.future.done():
                item.future.set_exception(error)
        self.waiting -= len(outcome.done) + len(outcome.failed)
        self.waiting_bytes -= size
        if outcome.done:
            self.batches += 1
            self.events += len(outcome.done)
            self.commit_seconds += outcome.seconds
            if self._on_batch is not None:
                self._on_batch(len(outcome.done), outcome.seconds)

    def _expire(self) -> None:
        """Refuses those whose deadline has passed; the writer drops them, unless they are already in a transaction.

        Those that the writer is done with are forgotten here too, many at a time.
        """
        assert self._loop is not None
        now = self._loop.time()
        outstanding = self._outstanding
        while outstanding and outstanding[0].finished:
            outstanding.popleft()
        while outstanding and outstanding[0].deadline <= now:
            item = outstanding.popleft()
            item.abandoned = not item.future.done()
            if item.abandoned:
                item.future.set_exception(unavailable())
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._expire)
