"""Events on their way from the event loop to the writer: collected for some iterations of the loop, then handed over at
once.

A transaction costs as much as fifty rows, so few large batches are cheaper than many small ones. While the writer is
busy, events wait here: if it found a few of them when it is done, they would be a batch of their own. Its answers soon
bring the next requests of the same callers, so the batch then lingers until it has as many events as were in progress,
or until some iterations have added nothing.

The loop decides this and not the writer, because only the loop knows without waiting whether more requests are there. A
writer that polls takes the interpreter lock, at each poll, from the requests that it waits for. An event must never be
kept longer than a bounded number of iterations after the writer's answer.

While the writer waits for the disk, the loop often has nothing to do: then it runs the work that callers have passed for
this time (`meanwhile`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from daypass.audit.batch import Item
from daypass.observability import logs

MAX_EVENTS: Final = 128  # events handed over at once: as many as one statement of SQLite inserts
_QUIET_CHECKS: Final = 4  # iterations in a row that add nothing, and one more for each `_AT_ONCE` events expected
_AT_ONCE: Final = 16  # requests that the server begins in one iteration
_MAX_CHECKS: Final = 32  # iterations


class Arrivals:
    """For one event loop.

    Args:
        encode: makes the rows of some events. The same work for several takes less time than between other work, because
        its code and data are in the processor's cache.
        hand_over: takes the events, in order of arrival.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        encode: Callable[[Sequence[Item]], None],
        hand_over: Callable[[Sequence[Item]], None],
    ) -> None:
        self._loop = loop
        self._encode = encode
        self._hand_over = hand_over
        self._items: list[Item] = []
        self._encoded = 0  # of these items
        self._meanwhile: list[Callable[[], object]] = []  # of these items
        self._pending_work: deque[Callable[[], object]] = deque()  # of those that the writer has
        self._expected = 0  # events: as many as were in progress when the last batch was answered
        self._busy = False  # the writer has a batch that it has not answered
        self._counted = 0  # events at the last check
        self._checks = self._quiet_checks = 0
        self._check_scheduled = False

    def add(self, item: Item, meanwhile: Callable[[], object] | None = None) -> None:
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
