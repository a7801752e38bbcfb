"""The journal is the only way to write. When a call returns, the write is durable and on the record.

Requests put events on a queue. One writer thread (`writer.LogWriter`) commits all waiting items as one transaction and
wakes their callers. It must never block the event loop, and never hold more than a bounded number of events. While the
database is unavailable, events go to a local spool (`spool_sink`); without one, requests are refused, because no
credential is issued without its event.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from daypass.audit.batch import ChangeFunction, JournalItem, JournalOptions, TransactionOutcome, unavailable
from daypass.audit.database_sink import DatabaseSink
from daypass.audit.log import Position
from daypass.audit.queue import Arrivals
from daypass.audit.sink import Outage
from daypass.audit.spool import SpoolDirectory
from daypass.audit.spool_sink import OfflineStart, SpoolSink
from daypass.audit.writer import LogWriter
from daypass.crypto.ids import Ids
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError
from daypass.domain.events import Event, EventType
from daypass.domain.session import SessionClaims
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.ports.directory import Tx
from daypass.ports.record import Offline
from daypass.stores.engine import Database, database_needed
from daypass.stores.feed import FeedChange

T = TypeVar("T")
P = TypeVar("P")

_WATCH_SECONDS = 0.1
_FULL = "the journal's queue is full"
_LOG_SECONDS = 5.0  # between two reports that items are refused


class Journal:
    """The only way to write. When a call returns, the write is durable and on the record. It may only be used on the event loop that started it.

    Figures for metrics are plain attributes: `failures`, `waiting`.

    Args:
        database: migrated.
        node: a human-readable name of this process, written to log.opened.
        on_changes: called on the event loop with the feed entries of a write, before the caller of that write resumes.
        on_batch: called after each commit with its events and its seconds; for metrics.
        spool: where events go while the database is unavailable; None: nowhere.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        node: str,
        options: JournalOptions | None = None,
        *,
        on_changes: Callable[[Sequence[FeedChange]], None] | None = None,
        on_batch: Callable[[Sequence[Event], float], None] | None = None,
        spool: SpoolDirectory | None = None,
    ) -> None:
        self._options = options or JournalOptions()
        self._clock = clock
        self._ids = ids
        self._on_changes = on_changes
        self._on_batch = on_batch
        inner = self._inner = DatabaseSink(
            database, clock, node, self._options, spooled=spool is not None, before_commit=self._begin_work
        )
        report = partial(self._on_loop, self._record)
        self._spool = SpoolSink(inner, database, clock, spool, node, report) if spool is not None else None
        self._writer = LogWriter(
            self._spool or inner,
            self._options,
            partial(self._on_loop, self._wake),
            ids.session,
            is_hurried=lambda: clock.jump_ms > 0 or database.suspect(),
        )
        self._thread = threading.Thread(target=self._writer.run, name="daypass-journal", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrivals: Arrivals | None = None  # until `start`
        self._watch: asyncio.TimerHandle | None = None
        self._outstanding: deque[JournalItem] = deque()  # ordered by deadline
        self._accepting = False
        self._refused_at = float("-inf")  # when a refusal was last logged
        self.first_log = ""
        """The log that this process began with. The status lists of the process have its id."""
        self.waiting = 0
        self.waiting_bytes = 0

    # --- Start and stop

    async def start(self, offline: OfflineStart | None = None) -> None:
        """Opens this process's log; with `offline`, in the spool. Raises the storage's error if that fails."""
        self._loop = asyncio.get_running_loop()
        self._arrivals = Arrivals(self._loop, self._encode, self._writer.queue.put)
        if offline is not None and self._spool is not None:
            self._spool.begin_without_database(offline)
        await asyncio.to_thread(self._writer.open, self._ids.session())
        self.first_log = self._writer.log
        self._thread.start()
        self._accepting = True
        if self._spool is not None:
            await asyncio.to_thread(self._spool.start, self._writer.log)
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._expire)

    async def close(self) -> None:
        """Refuses new items, commits the waiting ones and writes log.closed. It takes at most the deadline of a
        commit.
        """
        if not self._accepting:
            return
        self._accepting = False
        if self._arrivals is not None:
            self._arrivals.flush()
        if self._writer.stuck_seconds:
            logs.get().warning("journal_not_closed", log=self._writer.log)
            self._writer.queue.end()
            await self._end()
            return
        detail = {"log": self._writer.log}
        closed = self._item(Event(type=EventType.LOG_CLOSED, at=self._clock.now(), detail=detail))
        self._encode((closed,))
        self._writer.queue.end(closed)
        await asyncio.wait([closed.future])
        error = closed.future.exception()
        if error is not None:
            logs.get().warning("journal_not_closed", log=self._writer.log)
        await self._end()

    async def _end(self) -> None:
        """The writer stops when it reaches the end of the queue."""
        await asyncio.to_thread(self._thread.join, self._options.deadline_seconds)
        if self._spool is not None:
            await asyncio.to_thread(self._spool.close)
        if self._watch is not None:
            self._watch.cancel()

    def head(self) -> Position:
        """The last durable record of this log."""
        return self._writer.end

    @property
    def log(self) -> str:
        """The id of this process's log: 32 hex digits. After an outage it may be another one."""
        return self._writer.log

    @property
    def database_facts(self) -> tuple[str, str]:
        """The id of the installation, and the last reset of the clock, for a snapshot."""
        return self._inner.installation, self._inner.clock_reset

    def note_recorded(self) -> None:
        """See `SpoolSink.note_recorded`. Call it regularly, on a thread."""
        if self._spool is not None:
            self._spool.note_recorded()

    @property
    def failures(self) -> int:
        """Number of transactions that failed because of the database."""
        return self._writer.failures + (self._spool.failures if self._spool is not None else 0)

    @property
    def spool(self) -> SpoolSink | None:
        """The sink with the local spool, for metrics and /readyz; None when the journal has none."""
        return self._spool

    @property
    def outage(self) -> Outage | None:
        """The outage of the database during which events go to the spool; None when there is none."""
        outage = self._spool.outage if self._spool is not None else None
        return outage if outage is not None and outage.since else None

    def problem(self) -> str:
        """Why commits are expected to fail, for /readyz; "" when they are expected to succeed."""
        return self._storage_problem(0.0) or (_FULL if self._full() else "")

    # --- ports.Journal

    async def commit(
        self,
        event: Event,
        session: SessionClaims | None = None,
        replays: Sequence[ReplayEntry] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Event and session row in one transaction. While the database is unavailable they go to the local spool.

        `meanwhile`: work of the caller for the time in which the event is written. It may also come late or never, so what
        needs its result then does it itself.

        `replays`: the one-time proofs that it consumes in that transaction, which needs the database. The proofs of all
        items of a batch are one statement. Raises ProofUsed, and DaypassError(UNAVAILABLE) when it could not be made
        durable. The event may still be on the record (if the database's response was lost), but no credential was returned.
        """
        self._check()
        if replays:
            self._check_database()
        await self._add(event, session, replays, meanwhile).future

    async def write(
        self,
        change: Callable[[Tx], tuple[T, Event]],
        session: SessionClaims | None = None,
        *,
        account: str = "",
        urgent: bool = False,
        offline: Offline | None = None,
    ) -> T:
        """Runs `change` on the writer thread. Its writes, the feed entries, its event and the row of `session` are one
        transaction. While the database is unavailable, `offline` is done instead; without it, the call waits for the
        database at first, and is refused at once when the outage has lasted for `outage_seconds`.

        `change` may run more than once (after a rollback), so it must have no effect outside its `Tx`. If it raises a
        DaypassError or any other exception, only this change is rolled back and the exception is raised here (the caller
        records it). Accounts take turns; `account` is "" for the server's own changes. `urgent` changes (revocations,
        blocks, changes of keys) come first. Also raises DaypassError: UNAVAILABLE, or THROTTLED when too many changes of
        the account are waiting.
        """
        self._check(urgent=urgent)
        if offline is None:
            self._check_database()
        assert self._arrivals is not None
        self._arrivals.flush()  # what came before the change is recorded before it
        item = self._item(None, session, change, offline)
        self._encode((item,))
        try:
            self._writer.queue.put_change(item, account, urgent=urgent)
        except DaypassError:
            item.finished = True
            self.waiting -= 1
            self.waiting_bytes -= item.size
            raise
        result: T = await item.future
        return result

    # --- Waiting and waking, all on the event loop

    def _check(self, *, urgent: bool = False) -> None:
        """An urgent change is accepted even when the queue is full: the queue of urgent changes has its own limits.

        Each value is read once, because the writer's thread changes them at any moment: the reason given is the one
        that held.
        """
        why = self._storage_problem(self._options.outage_seconds)
        jump = self._clock.jump_ms
        if not why and jump:
            why = f"the system clock is {jump // 1000} s ahead of the expected time"
        if not why and not urgent and self._full():
            why = _FULL
        if why:
            raise self._refusal(why)

    def _check_database(self) -> None:
        """Refuses what needs the database when that has been unavailable for a while."""
        outage = self.outage
        if outage is not None and time.monotonic() - outage.since > self._options.outage_seconds:
            raise database_needed(outage.cause)

    def _refusal(self, why: str) -> DaypassError:
        """The refusal of an item that cannot be committed now. Its reason is logged once in a while, because such a
        refusal cannot be on the record.
        """
        assert self._loop is not None
        now = self._loop.time()
        if now - self._refused_at >= _LOG_SECONDS:
            logs.get().warning("journal_refuses", log=self._writer.log, why=why)
            self._refused_at = now
        return unavailable(why)

    def _storage_problem(self, outage_seconds: float) -> str:
        """Why an item would not become durable; "" when it would. An outage counts once it has lasted `outage_seconds`."""
        writer = self._writer
        halted, since = writer.halted, writer.unavailable_since
        if halted:
            return f"the audit log is halted: {halted}"
        if not self._accepting:
            return "the journal is not open"
        outage = time.monotonic() - since if since else 0.0
        if outage > outage_seconds:
            spool = f", and {self._spool.fault}" if self._spool is not None and self._spool.fault else ""
            why = f": {writer.unavailable_why}" if writer.unavailable_why else ""
            return f"the database has been unavailable for {outage:.0f} s{why}{spool}"
        waited = writer.stuck_seconds
        return f"the writer has waited {waited:.0f} s for the database" if waited else ""

    def _full(self) -> bool:
        return self.waiting >= self._options.queue or self.waiting_bytes >= self._options.queue_bytes

    def _item(
        self,
        event: Event | None,
        session: SessionClaims | None = None,
        change: ChangeFunction | None = None,
        offline: Offline | None = None,
        replays: Sequence[ReplayEntry] = (),
    ) -> JournalItem:
        """Counts an item for the queue and sets its deadline."""
        loop = self._loop
        assert loop is not None
        deadline = loop.time() + self._options.deadline_seconds
        item = JournalItem(loop.create_future(), deadline, event, session, change, offline, replays)
        self.waiting += 1
        self._outstanding.append(item)
        return item

    def _encode(self, items: Sequence[JournalItem]) -> None:
        """Makes the rows of items and counts their bytes, so the last few items that wait may have more than is allowed."""
        for item in items:
            try:
                item.encode()
            except Exception:  # noqa: BLE001 - a fault of ours: the writer refuses an item without rows, and no other one
                item.change = item.offline = None  # a change would be made without the row of its session (attack A360)
                logs.get().error("journal_event_not_encoded", log=self._writer.log, exc_info=True)
            self.waiting_bytes += item.size

    def _add(
        self,
        event: Event,
        session: SessionClaims | None = None,
        replays: Sequence[ReplayEntry] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> JournalItem:
        """Makes an item of an event and sends it to the writer, together with others."""
        assert self._arrivals is not None
        item = self._item(event, session, replays=replays)
        self._arrivals.add(item, meanwhile)
        return item

    def _on_loop(self, callback: Callable[[P], None], argument: P) -> None:
        """Called on other threads: runs `callback` on the event loop."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:  # the loop is closed: no caller waits any more, and the log of the process has the rest
            logs.get().warning("journal_loop_closed", log=self._writer.log)

    def _begin_work(self) -> None:
        """Called on the writer thread when it begins to wait for the database."""
        if self._arrivals is not None and self._arrivals.has_work:
            self._on_loop(Arrivals.work, self._arrivals)

    def _record(self, event: Event) -> None:
        if self._accepting:
            self._add(event).future.add_done_callback(lambda future: future.exception())  # nobody waits for it

    def _wake(self, outcome: TransactionOutcome) -> None:
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
        if self._arrivals is not None:
            self._arrivals.answered(self.waiting)
        self.waiting -= len(outcome.done) + len(outcome.failed)
        self.waiting_bytes -= size
        self._forget_finished()
        if outcome.done and self._on_batch is not None:
            self._on_batch([item.event for item, _ in outcome.done if item.event is not None], outcome.seconds)

    def _forget_finished(self) -> None:
        """Frees the items of a batch at once: the next requests get their memory while it is in the processor's cache."""
        outstanding = self._outstanding
        while outstanding and outstanding[0].finished:
            outstanding.popleft()

    def _expire(self) -> None:
        """Refuses items whose deadline has passed. The writer drops them unless they are already in a transaction."""
        assert self._loop is not None
        now = self._loop.time()
        if self._arrivals is not None:
            self._arrivals.flush()  # a writer whose last batch is in doubt is free without an answer
        self._forget_finished()
        outstanding = self._outstanding
        while outstanding and outstanding[0].deadline <= now:
            item = outstanding.popleft()
            item.abandoned = not item.future.done()
            if item.abandoned:
                needs_database, late = self.outage is not None and item.needs_database, "no answer in time"
                item.future.set_exception(database_needed(late) if needs_database else unavailable(late))
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._expire)
