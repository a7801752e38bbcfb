"""The metrics of all worker processes, sampled every ten seconds and kept for six hours."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from daypass.observability import logs
from daypass.observability.metrics import SECONDS, Metrics
from daypass.observability.totals import Totals, between

EVERY_SECONDS: Final = 10.0
KEPT: Final = 2_160  # six hours


class Measurement(Struct, frozen=True):
    """One interval, with what all worker processes of this server did in it.

    Attributes:
        since, until: ms.
        latency: by operation, the number of requests in each bucket of `Measurements.bounds`, and above the last.
        refused, faults: requests refused, and those of them that were the fault of the server.
        checks: by name of a synthetic check, how often it passed and failed.
    """

    since: int
    until: int
    latency: Mapping[str, tuple[int, ...]]
    refused: int
    faults: int
    checks: Mapping[str, tuple[int, int]]


class CheckResult(Struct, frozen=True):
    """The last run of a synthetic check. `why`: what was wrong; "" when it passed."""

    name: str
    at: int
    seconds: float
    why: str


class Measurements:
    """The figures of one server. Use it from one event loop."""

    bounds: Sequence[float] = SECONDS

    def __init__(self, metrics: Metrics, now: Callable[[], int]) -> None:
        self._metrics = metrics
        self._now = now
        self._kept: deque[Measurement] = deque(maxlen=KEPT)
        self._before: Totals | None = None
        self._since = 0
        self._checks: dict[str, CheckResult] = {}

    async def run(self) -> None:
        """Samples the metrics until it is cancelled."""
        while True:
            try:
                await self.sample()
            except Exception:  # noqa: BLE001  # the loop must continue; the next interval has the figures of this one, too
                logs.get().error("measurements.broken", exc_info=True)
            await asyncio.sleep(EVERY_SECONDS)

    async def sample(self) -> None:
        """Ends the current interval and begins the next one. The first sample only begins one."""
        totals, now = await self._metrics.totals(), self._now()
        if self._before is not None:
            added = between(self._before, totals)
            self._kept.append(Measurement(self._since, now, added.latency, added.refused, added.faults, added.checks))
        self._before, self._since = totals, now

    def note_check(self, result: CheckResult) -> None:
        """The run of a check. It is counted in the metrics."""
        self._checks[result.name] = result
        self._metrics["daypass_checks"].labels(result.name, "failed" if result.why else "passed").inc()

    def after(self, since: int) -> Sequence[Measurement]:
        """The intervals that have ended after `since` (ms), oldest first."""
        return [each for each in self._kept if each.until > since]

    def last_checks(self) -> Sequence[CheckResult]:
        """The last run of each check by this process; none when checks are off."""
        return list(self._checks.values())
