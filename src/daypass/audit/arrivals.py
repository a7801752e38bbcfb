"""Events on their way from the event loop to the writer: collected for some iterations of the loop, then handed over at
once.

A transaction costs as much as fifty rows, so few large batches are cheaper than many small ones. While the writer is
busy, events wait here: if it found a few of them when it is done, they would be a batch of their own. Its answers soon
bring the next requests of the same callers, so the batch then lingers until it has as many events as were in progress,
or until some iterations have added nothing.

The loop decides this and not the writer, because only the loop knows without waiting whether more requests are there. A
writer that looks for itself has to wake up for it, and each time takes the interpreter lock from the requests that it
waits for. It must never keep an event longer than a bounded number of iterations after the writer's answer.

While the writer waits for the disk, the loop often has nothing to do: then it does what callers have left for this time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from daypass.audit.batch import Item
from daypass.observability import logs

MOST: Final = 128  # events handed over at once: as many as one statement of SQLite inserts
_QUIET_LOOKS: Final = 4  # iterations in a row that add nothing, and one more for each `_AT_ONCE` events expected
_AT_ONCE: Final = 16  # requests that the server begins in one iteration
_MOST_LOOKS: Final = 32  # iterations


class Arrivals:
    """For one event loop.

    Args:
        hand_over: takes the events, in order of arrival.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[Sequence[Item]], None]) -> None:
        self._loop = loop
        self._hand_over = hand_over
        self._items: list[Item] = []
        self._meanwhile: list[Callable[[], object]] = []  # of these items
        self._left: deque[Callable[[], object]] = deque()  # of those that the writer has
        self._expected = 0  # events: as many as were in progress when the last batch was answered
        self._busy = False  # the writer has a batch that it has not answered
        self._seen = 0  # events at the last look
        self._looks = self._quiet_looks = 0
        self._looking = False  # a look is scheduled

    def add(self, item: Item, meanwhile: Callable[[], object] | None = None) -> None:
        """Adds an event, and work for the time in which it is written."""
        items = self._items
        items.append(item)
        if meanwhile is not None:
            self._meanwhile.append(meanwhile)
        if len(items) >= MOST:
            self.flush()
        elif not self._looking and not self._busy:
            self._look_later()

    def flush(self) -> None:
        """Hands over all events now."""
        self._seen = self._looks = self._quiet_looks = 0
        if self._items:
            self._busy = True
            items, self._items = self._items, []
            self._hand_over(items)
            if self._meanwhile:
                if not self._left:
                    self._loop.call_soon(self._work)
                self._left.extend(self._meanwhile)
                self._meanwhile.clear()

    def _work(self) -> None:
        """Once in each iteration while work is left: as much as comes with the requests that begin in one."""
        left = self._left
        for _ in range(min(_AT_ONCE, len(left))):
            work = left.popleft()
            try:
                work()
            except Exception:  # noqa: BLE001 - its caller does it again, and has the error then
                logs.get().warning("journal_meanwhile_failed", exc_info=True)
        if left:
            self._loop.call_soon(self._work)

    def answered(self, in_progress: int) -> None:
        """Called when the writer has answered a batch. `in_progress`: items that waited for an answer until then."""
        self._busy = False
        self._expected = in_progress
        if self._items and not self._looking:
            self._look_later()

    def _look_later(self) -> None:
        self._looking = True
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Once in each iteration while events are here and the writer is not busy."""
        self._looking = False
        here = len(self._items)
        self._looks += 1
        self._quiet_looks = self._quiet_looks + 1 if here == self._seen else 0
        quiet = self._quiet_looks >= _QUIET_LOOKS + self._expected // _AT_ONCE
        if here >= self._expected or quiet or self._looks >= _MOST_LOOKS:
            self.flush()
        else:
            self._seen = here
            self._look_later()
