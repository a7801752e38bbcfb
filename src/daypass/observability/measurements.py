"""The metrics of all worker processes, sampled every ten seconds and kept for six hours."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from daypass.client.probe import CAUSES
from daypass.observability import logs
from daypass.observability.metrics import SECONDS, TOKEN_AGES, Metrics
from daypass.observability.totals import CheckResult, Measurement, Totals, between

EVERY_SECONDS: Final = 10.0
KEPT: Final = 2_160  # six hours


class Measurements:
    """The figures of one server. Use it from one event loop. `set_gauges`: called before each sample."""

    bounds: Sequence[float] = SECONDS
    token_ages: Sequence[float] = TOKEN_AGES

    def __init__(self, metrics: Metrics, now: Callable[[], int], set_gauges: Callable[[], None]) -> None:
        self._metrics = metrics
        self._set_gauges = set_gauges
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
        self._set_gauges()
        totals, now = await self._metrics.totals(), self._now()
        if self._before is not None:
            self._kept.append(Measurement(self._since, now, between(self._before, totals)))
        self._before, self._since = totals, now

    def note_check(self, result: CheckResult) -> None:
        """The run of a check. It is counted in the metrics."""
        self._checks[result.name] = result
        outcome = "accepted" if result.accepted else "failed" if result.why else "passed"
        checks, expects = self._metrics["daypass_checks"], "refusal" if result.forbidden else "success"
        for each in ("passed", "failed", *(("accepted",) if result.forbidden else ())):
            cause = CAUSES.get(result.name, "none")
            checks.labels(result.name, cause, expects, each).inc(each == outcome)  # a series begins at zero

    def after(self, since: int) -> Sequence[Measurement]:
        """The intervals that have ended after `since` (ms), oldest first."""
        return [each for each in self._kept if each.until > since]

    def last_checks(self) -> Sequence[CheckResult]:
        """The last run of each check by this process; none when checks are off."""
        return list(self._checks.values())
