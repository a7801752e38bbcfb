"""The clock of one process: its time never goes back, not even over a restart (attack A60).

It must never return less than the persisted mark or than an earlier reading, whatever the wall clock does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class HighWaterClock:
    """Implements `ports.Clock`. Safe to share between threads.

    While the wall clock is behind the highest time read so far, time goes on at half speed from there: an expired
    session stays expired, the wall clock catches up in twice its lag, and a mark that was once far in the future
    cannot make new sessions live for ever (at most twice as long as they should).

    Args:
        wall: ns since the epoch, as `time.time_ns`.
        mark: the highest time that was persisted (`journal.load_mark`), ms.
        monotonic: seconds, as `time.monotonic`.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, mark: int = 0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._highest = mark
        self._since = self._passed()
        self._lock = threading.Lock()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        wall = self._wall() // 1_000_000
        if wall == self._highest:  # nearly always: it is asked several times within a millisecond
            return wall
        with self._lock:
            passed = self._passed()
            if wall >= self._highest:
                self._highest = wall
                self._since = passed
            else:
                half = (passed - self._since) // 2
                self._highest += half
                self._since += 2 * half
            return self._highest

    def _passed(self) -> int:
        return int(self._monotonic() * 1000)

    @property
    def lag_ms(self) -> int:
        """How far the wall clock is behind: 0 when all is well."""
        return max(0, self._highest - self._wall() // 1_000_000)
