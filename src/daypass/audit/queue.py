"""The queue of the writer: events in order of arrival, changes in turns by account.

Events are cheap, so they are not sorted. A change runs code on the writer thread, so a batch holds a bounded number of
changes, and accounts take turns. Urgent changes (revocations, blocks, changes of keys) come before all others.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from daypass.audit.batch import JournalItem, JournalOptions
from daypass.observability import logs
from daypass.scheduling.threads import FairQueue

MAX_CHANGES: Final = 128
"""Maximum number of urgent changes, and of other changes, in one batch. An urgent change waits for at most twice as
many. One change takes about 0.5 ms.
"""
TURN_SECONDS: Final = 0.02
"""How long the changes of one kind in one batch may take: meanwhile no other process changes anything, and everybody's
events wait for the commit (attack A307). A batch has fewer changes where they take longer, and at least one.
"""
EVENTS_DIVISOR: Final = 4
"""A batch that also has events has a quarter of the usual changes, because these events have mostly waited for the
changes of the batch before (attack A312).
"""

_MAX_OF_ACCOUNT: Final = 1_000  # waiting changes of one account


class WriterQueue:
    """The event loop adds items and the writer thread takes them."""

    def __init__(self, options: JournalOptions) -> None:
        self._options = options
        self._incoming: SimpleQueue[Sequence[JournalItem] | None] = SimpleQueue()
        self.put: Callable[[Sequence[JournalItem]], None] = self._incoming.put
        """Adds events, all at once: each call may wake the writer."""
        self._events: deque[JournalItem] = deque()  # taken from `_incoming`; only the writer uses it
        self._lock = threading.Lock()
        self._urgent: FairQueue[JournalItem] = FairQueue(_MAX_OF_ACCOUNT)
        self._usual: FairQueue[JournalItem] = FairQueue(_MAX_OF_ACCOUNT)
        self._change_limit = min(MAX_CHANGES, options.batch)
        self._last: JournalItem | None = None
        self._ending = False
        self.ended = False
        """Whether the queue is closed and everything has been taken."""

    def put_change(self, item: JournalItem, account: str, *, urgent: bool) -> None:
        """Adds a change on behalf of an account, "" for the server itself. Raises DaypassError(THROTTLED)."""
        with self._lock:
            (self._urgent if urgent else self._usual).put(account, item)
        self._incoming.put(())  # wakes the writer

    def end(self, last: JournalItem | None = None) -> None:
        """Closes the queue. `last` is taken after everything else."""
        self._last = last
        self._incoming.put(None)

    def take(self, timeout: float) -> list[JournalItem]:
        """The waiting items, up to the limits of a batch. Waits up to `timeout` seconds for the first item; [] if none
        arrives.
        """
        while not self.ended:
            ready = bool(self._events or self._ending or self._changes())
            if not self._receive(0.0 if ready else timeout) and not ready:
                return []
            items = self._with_changes(self._take_events())
            if self._ending and not self._events and not self._changes():
                self.ended = True
                if self._last is not None:
                    items.append(self._last)
            if items:  # not set for a change that was in the last batch
                return items
        return []

    def _receive(self, timeout: float) -> bool:
        """Takes everything that the event loop has handed over. Waits up to `timeout` seconds for the first of it. Returns
        False if nothing came.
        """
        received = False
        while not self._ending:
            try:
                items = self._incoming.get(block=timeout > 0.0, timeout=timeout)
            except Empty:
                break
            received, timeout = True, 0.0
            if items is None:
                self._ending = True
            else:
                self._events.extend(items)
        return received

    def _take_events(self) -> list[JournalItem]:
        """The events that come first, up to the limits of a batch."""
        limit, bytes_left = self._options.batch, self._options.batch_bytes
        items: list[JournalItem] = []
        while self._events and len(items) < limit and bytes_left > 0:
            item = self._events.popleft()
            items.append(item)
            bytes_left -= item.size
        return items

    def _with_changes(self, events: list[JournalItem]) -> list[JournalItem]:
        """Urgent changes first, then events and other changes in order of arrival."""
        limit = self._change_limit
        usual_limit = max(1, limit // EVENTS_DIVISOR) if events else limit
        with self._lock:
            urgent = [self._urgent.take() for _ in range(min(len(self._urgent), limit))]
            usual = [self._usual.take() for _ in range(min(len(self._usual), usual_limit))]
        if usual:
            events = sorted((*usual, *events), key=lambda item: item.deadline)
        return urgent + events if urgent else events

    def note_changes(self, seconds: Sequence[float]) -> None:
        """How long each change of the last batch took: the next batch has as many as fit into a turn. Its size at most
        doubles, because one quick batch does not mean that the next one is quick.
        """
        if not seconds:
            return
        fitting = int(TURN_SECONDS * len(seconds) / max(sum(seconds), 1e-9))
        self._change_limit = max(1, min(fitting, 2 * self._change_limit, MAX_CHANGES, self._options.batch))

    def _changes(self) -> int:
        with self._lock:
            return len(self._urgent) + len(self._usual)


# --- Arrivals


MAX_EVENTS: Final = 128  # events handed over at once: as many as one statement of SQLite inserts
_QUIET_CHECKS: Final = 4  # iterations in a row that add nothing, and one more for each `_AT_ONCE` events expected
_AT_ONCE: Final = 16  # requests that the server begins in one iteration
_MAX_CHECKS: Final = 32  # iterations


class Arrivals:
    """For one event loop.

    Args:
        encode: makes the rows of some events. The same work for several takes less time than between other work, because
        its code and data are in the processor's cache.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        encode: Callable[[Sequence[JournalItem]], None],
        hand_over: Callable[[Sequence[JournalItem]], None],
    ) -> None:
        self._loop = loop
        self._encode = encode
        self._hand_over = hand_over
        self._items: list[JournalItem] = []
        self._encoded = 0  # of these items
        self._meanwhile: list[Callable[[], object]] = []  # of these items
        self._pending_work: deque[Callable[[], object]] = deque()  # of those that the writer has
        self._expected = 0  # events: as many as were in progress when the last batch was answered
        self._busy = False  # the writer has a batch that it has not answered
        self._counted = 0  # events at the last check
        self._checks = self._quiet_checks = 0
        self._check_scheduled = False

    def add(self, item: JournalItem, meanwhile: Callable[[], object] | None = None) -> None:
        """Adds an event, and work for the time in which it is written."""
        items = self._items
        items.append(item)
        if meanwhile is not None:
            self._meanwhile.append(meanwhile)
        if len(items) - self._encoded >= _AT_ONCE:
            self._encode_rest()
        if len(items) >= MAX_EVENTS:
            self.flush()
        elif not self._check_scheduled and not self._busy:
            self._schedule_check()

    def flush(self) -> None:
        """Hands over all events now."""
        self._counted = self._checks = self._quiet_checks = 0
        if self._items:
            self._busy = True
            self._encode_rest()
            items, self._items, self._encoded = self._items, [], 0
            self._pending_work.extend(self._meanwhile)
            self._meanwhile.clear()
            self._hand_over(items)

    def _encode_rest(self) -> None:
        self._encode(self._items[self._encoded :])
        self._encoded = len(self._items)

    @property
    def has_work(self) -> bool:
        """Whether there is work for the time in which a batch is written. It may be read on any thread."""
        return bool(self._pending_work)

    def work(self) -> None:
        """Once in each iteration while work is left: as much as comes with the requests that begin in one. It begins when
        the writer waits for the disk: before that, it would take the interpreter lock from the writer.
        """
        pending = self._pending_work
        for _ in range(min(_AT_ONCE, len(pending))):
            work = pending.popleft()
            try:
                work()
            except Exception:  # noqa: BLE001 - its caller does it again, and has the error then
                logs.get().warning("journal_meanwhile_failed", exc_info=True)
        if pending:
            self._loop.call_soon(self.work)

    def answered(self, in_progress: int) -> None:
        """Called when the writer has answered a batch. `in_progress`: items that waited for an answer until then."""
        self._busy = False
        self._expected = in_progress
        if self._pending_work:  # nobody has begun it, so the callers have done it: it is only forgotten
            self._loop.call_soon(self.work)
        if self._items and not self._check_scheduled:
            self._schedule_check()

    def _schedule_check(self) -> None:
        self._check_scheduled = True
        self._loop.call_soon(self._check)

    def _check(self) -> None:
        """Once in each iteration while events are here and the writer is not busy."""
        self._check_scheduled = False
        count = len(self._items)
        self._checks += 1
        self._quiet_checks = self._quiet_checks + 1 if count == self._counted else 0
        quiet = self._quiet_checks >= _QUIET_CHECKS + self._expected // _AT_ONCE
        if count >= self._expected or quiet or self._checks >= _MAX_CHECKS:
            self.flush()
        else:
            self._counted = count
            self._schedule_check()
