"""The clock of one process: its time never goes back, even after a restart (attack A60), and never jumps ahead (A111).

`now` must never return less than the persisted mark or than an earlier reading, and never follow a jump of the wall
clock that the monotonic clock contradicts. Only `wall` returns the unmodified system time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from daypass.observability import logs

MAX_JUMP_MS = 300_000
"""How far the wall clock may be ahead of the monotonic clock before it is no longer followed."""


# Includes time while the machine is suspended, where the system provides such a clock. Resuming is then not a jump.
_seconds_since_boot: Callable[[], float] = partial(
    time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)


class Clock:
    """Safe to share between threads.

    While the wall clock is behind the highest time read so far, time continues from there at half speed. An expired
    session stays expired, the wall clock catches up in twice its lag, and a session issued in the meantime lasts at
    most twice as long as it should.

    While the wall clock is more than `max_jump_ms` ahead of the expected time, the jump is refused: `now` continues at
    the rate of the monotonic clock, `problem` reports it, and the new time is not persisted. This ends when the wall
    clock comes back, when the database confirms the new time (`confirm`), or with `reset`.

    Args:
        wall: ns since the epoch, as `time.time_ns`.
        mark: the highest persisted time in ms (`opening.load_mark`).
        monotonic: seconds, as `time.monotonic`.
        reference: the time in ms according to the database server or to processes that share a SQLite file: a wall
        clock that is behind it may be set right. If it is None, the first reading of the wall clock is trusted.
        max_jump_ms: see above.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        mark: int = 0,
        monotonic: Callable[[], float] = _seconds_since_boot,
        *,
        reference: int | None = None,
        max_jump_ms: int = MAX_JUMP_MS,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._max_jump = max_jump_ms
        self._highest = mark
        self._since = self._elapsed()
        first = self.wall()
        apart = reference is not None and abs(first - reference) > max_jump_ms
        self._expected_at_zero = (reference if apart and reference is not None else first) - self._since
        self._jump = 0
        self._lock = threading.Lock()
        self.jumps = 0
        """Number of jumps refused so far, for metrics."""

    def now(self) -> int:
        """Milliseconds since the epoch, for issue and expiry times."""
        wall = self._wall() // 1_000_000
        if wall == self._highest:  # the usual case: several calls within one millisecond
            return wall
        with self._lock:
            elapsed = self._elapsed()
            time_now = self._plausible(wall, elapsed)
            if time_now >= self._highest:
                self._highest = time_now
                self._since = elapsed
            else:
                half = (elapsed - self._since) // 2
                self._highest += half
                self._since += 2 * half
            return self._highest

    def wall(self) -> int:
        """The system time in ms since the epoch, for checking the freshness of signatures and tokens made elsewhere."""
        return self._wall() // 1_000_000

    def _plausible(self, wall: int, elapsed: int) -> int:
        """The wall clock's time, or the expected time while the wall clock is too far ahead."""
        expected = self._expected_at_zero + elapsed
        if wall - expected <= self._max_jump:
            if self._jump:
                logs.get().warning("clock.jump_over", ahead_seconds=self._jump // 1000)
                self._jump = 0
            return wall
        if not self._jump:
            self.jumps += 1
            logs.get().error("clock.jump_refused", ahead_seconds=(wall - expected) // 1000)
        self._jump = wall - expected
        return expected

    def _elapsed(self) -> int:
        return int(self._monotonic() * 1000)

    def confirm(self, reference: int) -> None:
        """Accepts a jump if the wall clock agrees with `reference`, the time of another clock in ms."""
        with self._lock:
            wall = self.wall()
            if abs(wall - reference) <= self._max_jump:
                self._expected_at_zero = wall - self._elapsed()

    def reset(self) -> None:
        """Trusts the wall clock whatever its time is. Expired sessions may become valid again, so end them first."""
        with self._lock:
            wall, elapsed = self.wall(), self._elapsed()
            self._highest, self._since, self._expected_at_zero, self._jump = wall, elapsed, wall - elapsed, 0

    def problem(self) -> str:
        """Why no credentials can be issued, for /readyz; "" when they can."""
        self.now()
        if not self._jump:
            return ""
        ahead = self._jump // 1000
        return f"the system clock is {ahead} s ahead of the expected time: set it right, or run `daypass clock reset`"

    def warning(self) -> str:
        """A warning for the operator that does not stop requests, for /readyz; "" when there is none."""
        lag = self.lag_ms
        if lag <= self._max_jump:
            return ""
        return f"the system clock is {lag // 1000} s behind the time that was recorded before: see `daypass clock`"

    @property
    def jump_ms(self) -> int:
        """How far the wall clock is ahead of the expected time while a jump is refused; otherwise 0."""
        return self._jump

    @property
    def lag_ms(self) -> int:
        """How far the wall clock is behind; 0 when it is not."""
        return max(0, self._highest - self.wall())
