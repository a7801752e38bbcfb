"""Events on their way from the event loop to the writer: collected for some iterations of the loop, then handed over at
once.

A transaction costs as much as fifty rows, so the batch lingers while the loop keeps adding to it. The loop decides this
and not the writer, because only the loop knows without waiting whether more requests are there. A writer that looks for
itself has to wake up for it, and each time takes the interpreter lock from the requests that it waits for. It must never
keep an event longer than a bounded number of iterations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from daypass.audit.batch import Item

MOST: Final = 128  # events handed over at once: as many as one statement of SQLite inserts
_LINGER_FROM: Final = 8  # events; fewer are handed over in the next iteration
_GROWTH: Final = 4  # events that an iteration must add for the batch to linger
_MOST_LOOKS: Final = 16  # iterations


class Arrivals:
    """For one event loop.

    Args:
        hand_over: takes the events, in order of arrival.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[Sequence[Item]], None]) -> None:
        self._loop = loop
        self._hand_over = hand_over
        self._items: list[Item] = []
        self._seen = 0  # events at the last look
        self._looks = 0
        self._looking = False  # a look is scheduled

    def add(self, item: Item) -> None:
        """Adds an event."""
        items = self._items
        items.append(item)
        if len(items) >= MOST:
            self.flush()
        elif not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def flush(self) -> None:
        """Hands over all events now."""
        self._seen = self._looks = 0
        if self._items:
            items, self._items = self._items, []
            self._hand_over(items)

    def _look(self) -> None:
        """Once in each iteration while events are here."""
        here = len(self._items)
        self._looks += 1
        if here < _LINGER_FROM or here - self._seen < _GROWTH or self._looks >= _MOST_LOOKS:
            self._looking = False
            self.flush()
        else:
            self._seen = here
            self._loop.call_soon(self._look)
