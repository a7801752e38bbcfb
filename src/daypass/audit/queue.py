"""The queue of the writer: events in order of arrival, changes in turns by account.

Events are cheap, so they are not sorted. A change runs code on the writer thread, so a batch holds a bounded number of
changes, and accounts take turns. Urgent changes (revocations, blocks, changes of keys) come before all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from daypass.audit.batch import Item, JournalOptions
from daypass.scheduling.fair_queue import FairQueue

MOST_CHANGES: Final = 128
"""Maximum number of urgent changes, and of other changes, in one batch. An urgent change waits for at most twice as
many. One change takes about 0.5 ms.
"""

_LINGER_FROM: Final = 8  # items; with fewer waiting, the batch does not linger
_LINGER_SECONDS: Final = 0.001  # between two checks of the queue
_MOST_LINGERS: Final = 10
_MOST_OF_ACCOUNT: Final = 1_000  # waiting changes of one account
_CHANGE: Final = object()  # wakes the writer: a change is waiting


class WriterQueue:
    """The event loop adds items and the writer thread takes them."""

    def __init__(self, options: JournalOptions) -> None:
        self._options = options
        self._events: SimpleQueue[Item | object | None] = SimpleQueue()
        self.put: Callable[[Item], None] = self._events.put
        """Adds an event. It is an attribute because every request calls it."""
        self._lock = threading.Lock()
        self._urgent: FairQueue[Item] = FairQueue(_MOST_OF_ACCOUNT)
        self._usual: FairQueue[Item] = FairQueue(_MOST_OF_ACCOUNT)
        self._last: Item | None = None
        self._ending = False
        self.ended = False
        """Whether the queue is closed and everything has been taken."""

    def put_change(self, item: Item, account: str, *, urgent: bool) -> None:
        """Adds a change on behalf of an account, "" for the server itself. Raises DaypassError(THROTTLED)."""
        with self._lock:
            (self._urgent if urgent else self._usual).put(account, item)
        self._events.put(_CHANGE)

    def end(self, last: Item | None = None) -> None:
        """Closes the queue. `last` is taken after everything else."""
        self._last = last
        self._events.put(None)

    def take(self, timeout: float) -> list[Item]:
        """The waiting items, up to the limits of a batch. Waits up to `timeout` seconds for the first item; [] if none
        arrives.
        """
        while not self.ended:
            items: list[Item] = []
            if not self._ending:
                try:
                    first = self._events.get(timeout=0 if self._changes() else timeout)
                    self._linger()
                    self._take_events(first, items)
                except Empty:
                    if not self._changes():
                        return []
            items = self._with_changes(items)
            if self._ending and not self._changes():
                self.ended = True
                if self._last is not None:
                    items.append(self._last)
            if items:  # not set for a change that was in the last batch
                return items
        return []

    def _linger(self) -> None:
        """Waits as long as more items keep arriving, because a transaction costs as much as fifty rows."""
        here = self._events.qsize()
        for _ in range(_MOST_LINGERS):
            if here < _LINGER_FROM:
                return
            time.sleep(_LINGER_SECONDS)
            before, here = here, self._events.qsize()
            if here - before < _LINGER_FROM // 2:
                return

    def _take_events(self, first: Item | object | None, items: list[Item]) -> None:
        """Moves events to `items`."""
        most, room = self._options.batch, self._options.batch_bytes
        found = first
        while found is not None:
            if isinstance(found, Item):
                items.append(found)
                room -= found.size
                if len(items) >= most or room <= 0:
                    return
            try:
                found = self._events.get_nowait()
            except Empty:
                return
        self._ending = True

    def _with_changes(self, events: list[Item]) -> list[Item]:
        """Urgent changes first, then events and other changes in order of arrival."""
        most = min(MOST_CHANGES, self._options.batch)
        with self._lock:
            urgent = [self._urgent.take() for _ in range(min(len(self._urgent), most))]
            usual = [self._usual.take() for _ in range(min(len(self._usual), most))]
        if usual:
            events = sorted((*usual, *events), key=lambda item: item.deadline)
        return urgent + events if urgent else events

    def _changes(self) -> int:
        with self._lock:
            return len(self._urgent) + len(self._usual)
