"""Latency, errors and synthetic checks of the server in the last hours, for the operator of the installation.

The figures are of all tenants together, so no tenant sees them. They are estimates: a percentile is the upper bound of the
bucket in which it lies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from msgspec import Struct

from daypass.observability.totals import ISSUING
from daypass.operations.management import allow_operator
from daypass.operations.outcome import served
from daypass.ports import Call, CheckResult, Env, Measurement

BUCKETS: Final = 48
EVERY_MS: Final = 10_000  # about as long as one interval is
_TOP: Final = 10


class Latency(Struct, frozen=True):
    """Requests and their times in ms: half, 95 and 99 of a hundred took at most this. None: none, or over all bounds."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class OperationLatency(Struct, frozen=True):
    """The latency of one operation."""

    operation: str
    latency: Latency


class Check(Struct, frozen=True):
    """A synthetic check: how often it passed and failed in the period, and its last run by this process, if any."""

    name: str
    passed: int
    failed: int
    last: CheckResult | None = None


class Measured(Struct, frozen=True):
    """Figures from `since` to `until` (ms), which may begin later than asked: they are kept for some hours.

    Attributes:
        times: the beginnings (ms) of the buckets. requests, faults: numbers for each bucket. faults are answers that were
            the fault of the server. p50, p99: latencies for each bucket. heat: for each bucket of time, the number of
            requests up to each of `bounds` (seconds), and above the last. issuing_heat: the same of sessions issued.
        latency: of all requests; issuing: of those that issue sessions. operations: those with the most time in all, first.
    """

    since: int
    until: int
    times: tuple[int, ...]
    requests: tuple[int, ...]
    faults: tuple[int, ...]
    p50: tuple[float | None, ...]
    p99: tuple[float | None, ...]
    latency: Latency
    refused: int
    operations: tuple[OperationLatency, ...]
    checks: tuple[Check, ...]
    bounds: tuple[float, ...] = ()
    heat: tuple[tuple[int, ...], ...] = ()
    issuing: Latency = Latency(0, None, None, None)
    issuing_heat: tuple[tuple[int, ...], ...] = ()


async def measure(env: Env, call: Call, since: int, until: int) -> Measured:
    """daypass:ReadMeasurements. Raises DaypassError(ACCESS_DENIED): for other accounts than the operator's."""
    decision = await allow_operator(env, call, "ReadMeasurements", "measurements", "*")
    measurements = [each for each in env.measurements.after(since) if each.since <= until]
    await env.journal.commit(served(call, decision=decision, detail={"measured": len(measurements)}))
    return measured_of(measurements, env.measurements.bounds, env.measurements.last_checks(), (since, until))


def measured_of(
    measurements: Sequence[Measurement], bounds: Sequence[float], last: Sequence[CheckResult], period: tuple[int, int]
) -> Measured:
    """The figures of these intervals, oldest first."""
    until = period[1]
    first = measurements[0].since if measurements else period[0]
    since = max(period[0], min(first, until - BUCKETS * EVERY_MS))  # no bucket is shorter than an interval
    width = max(1, (until - since) // BUCKETS)
    places: list[list[Measurement]] = [[] for _ in range(BUCKETS)]
    for each in measurements:
        places[min(BUCKETS - 1, max(0, (each.since - since) // width))].append(each)
    heat = [_summed(each.latency for each in place) for place in places]
    issuing = [_summed(_of_issuing(each.latency) for each in place) for place in places]
    by_place = [_latency(numbers, bounds) for numbers in heat]
    by_operation = _summed_by_operation(measurements)
    slowest = sorted(by_operation, key=lambda name: -_seconds(by_operation[name], bounds))[:_TOP]
    return Measured(
        since=since,
        until=until,
        times=tuple(since + number * width for number in range(BUCKETS)),
        requests=tuple(each.count for each in by_place),
        faults=tuple(sum(each.faults for each in place) for place in places),
        p50=tuple(each.p50 for each in by_place),
        p99=tuple(each.p99 for each in by_place),
        latency=_latency(_summed([by_operation]), bounds),
        refused=sum(each.refused for each in measurements),
        operations=tuple(OperationLatency(name, _latency(by_operation[name], bounds)) for name in slowest),
        checks=_checks(measurements, last),
        bounds=tuple(bounds),
        heat=tuple(heat),
        issuing=_latency(_summed([_of_issuing(by_operation)]), bounds),
        issuing_heat=tuple(issuing),
    )


def _of_issuing(found: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    return {name: numbers for name, numbers in found.items() if name in ISSUING}


def _summed(found: Iterable[Mapping[str, tuple[int, ...]]]) -> tuple[int, ...]:
    """The buckets of all operations together."""
    return tuple(map(sum, zip(*(numbers for each in found for numbers in each.values()), strict=True)))


def _summed_by_operation(measurements: Iterable[Measurement]) -> dict[str, tuple[int, ...]]:
    together: dict[str, tuple[int, ...]] = {}
    for each in measurements:
        for name, numbers in each.latency.items():
            before = together.get(name)
            together[name] = tuple(map(sum, zip(before, numbers, strict=True))) if before else numbers
    return together


def _latency(numbers: Sequence[int], bounds: Sequence[float]) -> Latency:
    return Latency(sum(numbers), *(_percentile(numbers, bounds, share) for share in (0.5, 0.95, 0.99)))


def _percentile(numbers: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The quantile in ms: the upper bound of its bucket; None above the last bound."""
    wanted = share * sum(numbers)
    for upto, bound in zip(accumulate(numbers), bounds, strict=False):
        if upto and upto >= wanted:
            return bound * 1000
    return None


def _seconds(numbers: Sequence[int], bounds: Sequence[float]) -> float:
    """An upper estimate of the time that these requests took together."""
    return sum(number * bound for number, bound in zip(numbers, (*bounds, 2 * bounds[-1]), strict=True))


def _checks(measurements: Iterable[Measurement], last: Sequence[CheckResult]) -> tuple[Check, ...]:
    passed, failed = Counter[str](), Counter[str]()
    for each in measurements:
        for name, (good, bad) in each.checks.items():
            passed[name] += good
            failed[name] += bad
    runs = {result.name: result for result in last}
    return tuple(Check(name, passed[name], failed[name], runs.get(name)) for name in sorted({*passed, *failed, *runs}))
