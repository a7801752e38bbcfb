"""Latency, errors and synthetic checks of the server in the last hours, for the operator of the installation.

The figures are of all tenants together, so no tenant sees them. They are estimates: a percentile is the upper bound of the
bucket in which it lies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from msgspec import Struct

from daypass.monitoring.alerts import AUTH_CAUSES, AUTH_NUMBER, AUTH_SHARE, LIMITS, REMEDIATED_SECONDS
from daypass.observability.totals import ISSUING, Totals
from daypass.operations.management import allow_operator
from daypass.operations.outcome import served
from daypass.ports import Call, CheckResult, Env, Measurement

BUCKETS: Final = 48
EVERY_MS: Final = 10_000  # about as long as one interval is
_TOP: Final = 10
_WINDOW_MS: Final = 300_000


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
    """Figures from `since` to `until` (ms), which may begin later than asked: they are kept for some hours."""

    since: int
    until: int
    # times: the beginnings (ms) of the buckets. series: by name, a value for each bucket: requests, refused and faults
    # (answers that were the fault of the server), p50 and p99 of the latency (ms), and what `_GAUGES` and `_HISTOGRAMS`
    # name. heat: for each bucket of time, the number of requests up to each of `bounds` (seconds), and above the last.
    # issuing_heat: the same of sessions issued.
    times: tuple[int, ...]
    series: Mapping[str, tuple[float | None, ...]]
    # latency: of all requests; issuing: of those that issue sessions. operations: those with the most time in all,
    # first.
    latency: Latency
    refused: int
    operations: tuple[OperationLatency, ...]
    checks: tuple[Check, ...]
    bounds: tuple[float, ...] = ()
    heat: tuple[tuple[int, ...], ...] = ()
    issuing: Latency = Latency(0, None, None, None)
    issuing_heat: tuple[tuple[int, ...], ...] = ()
    codes: tuple[tuple[str, int], ...] = ()  # of refused requests, the most frequent first
    # The records in the database, of those that must be there (M9); None: not compared yet.
    record_share: float | None = None
    # The longest time (s) for which authentication failed, and that for which it does now (M10).
    auth_failing: tuple[float, float] = (0, 0)
    alerts: tuple[str, ...] = ()  # those that this server can tell by itself


_GAUGES: Final = {
    "degraded": "daypass_degraded",
    "spool": "daypass_spool_events",
    "staleness": "daypass_directory_staleness_seconds",
    "waiting": "daypass_journal_waiting",
}
_HISTOGRAMS: Final = {"commit": "daypass_journal_commit_seconds", "token_age": "daypass_token_skew_seconds"}


async def measure(env: Env, call: Call, since: int, until: int) -> Measured:
    """daypass:ReadMeasurements. Raises DaypassError(ACCESS_DENIED): for other accounts than the operator's."""
    decision = await allow_operator(env, call, "ReadMeasurements", "measurements", "*")
    kept = env.measurements
    measurements = [each for each in kept.after(since) if each.since <= until]
    await env.journal.commit(served(call, decision=decision, detail={"measured": len(measurements)}))
    return await asyncio.to_thread(
        measured_of, measurements, kept.bounds, kept.last_checks(), (since, until), kept.token_ages
    )


def measured_of(
    measurements: Sequence[Measurement],
    bounds: Sequence[float],
    last: Sequence[CheckResult],
    period: tuple[int, int],
    token_ages: Sequence[float] = (),
) -> Measured:
    """The figures of these intervals, oldest first."""
    until = period[1]
    first = measurements[0].since if measurements else period[0]
    since = max(period[0], min(first, until - BUCKETS * EVERY_MS))  # no bucket is shorter than an interval
    width = max(1, (until - since) // BUCKETS)
    places: list[list[Totals]] = [[] for _ in range(BUCKETS)]
    for each in measurements:
        places[min(BUCKETS - 1, max(0, (each.since - since) // width))].append(each.figures)
    heat = [_summed(each.latency for each in place) for place in places]
    issuing = [_summed(_of_issuing(each.latency) for each in place) for place in places]
    by_operation = _summed_by_operation(each.figures for each in measurements)
    slowest = sorted(by_operation, key=lambda name: -_seconds(by_operation[name], bounds))[:_TOP]
    codes = sum((Counter(each.figures.codes) for each in measurements), Counter[str]())
    newest = measurements[-1].figures if measurements else Totals()
    failing = _auth_failing(measurements)
    return Measured(
        since=since,
        until=until,
        times=tuple(since + number * width for number in range(BUCKETS)),
        series=_series(places, [_latency(numbers, bounds) for numbers in heat], bounds, token_ages),
        latency=_latency(_summed([by_operation]), bounds),
        refused=codes.total(),
        operations=tuple(OperationLatency(name, _latency(by_operation[name], bounds)) for name in slowest),
        checks=_checks(measurements, last),
        bounds=tuple(bounds),
        heat=tuple(heat),
        issuing=_latency(_summed([_of_issuing(by_operation)]), bounds),
        issuing_heat=tuple(issuing),
        codes=tuple(codes.most_common(_TOP)),
        record_share=_record_share(newest),
        auth_failing=failing,
        alerts=tuple(_alerts(measurements, last, failing[1])),
    )


def _series(
    places: Sequence[Sequence[Totals]],
    latencies: Sequence[Latency],
    bounds: Sequence[float],
    token_ages: Sequence[float],
) -> dict[str, tuple[float | None, ...]]:
    limits = {"commit": bounds, "token_age": [each / 1000 for each in token_ages]}  # of tokens in seconds, others in ms
    histograms = {
        name: tuple(
            _percentile(
                _summed({"": each.buckets[metric]} for each in place if metric in each.buckets), limits[name], 0.95
            )
            for place in places
        )
        for name, metric in _HISTOGRAMS.items()
    }
    return {
        "requests": tuple(each.count for each in latencies),
        "refused": tuple(sum(each.refused for each in place) for place in places),
        "faults": tuple(sum(each.faults for each in place) for place in places),
        "p50": tuple(each.p50 for each in latencies),
        "p99": tuple(each.p99 for each in latencies),
        **{
            name: tuple(
                max((each.plain[metric] for each in place if metric in each.plain), default=None) for place in places
            )
            for name, metric in _GAUGES.items()
        },
        **histograms,
    }


def _record_share(newest: Totals) -> float | None:
    expected = newest.plain.get("daypass_record_expected_total", 0)
    return newest.plain["daypass_record_found_total"] / expected if expected else None


def _auth_failing(measurements: Sequence[Measurement]) -> tuple[float, float]:
    """How long the condition of DaypassAuthFailures held without a break, at most and until now (s)."""
    requests = [each.figures.requests for each in measurements]
    longest = now = 0.0
    for cause in AUTH_CAUSES:
        refused = [each.figures.causes.get(cause, 0) for each in measurements]
        oldest = failed = every = 0
        began: int | None = None
        for number, each in enumerate(measurements):
            failed, every = failed + refused[number], every + requests[number]
            while measurements[oldest].until <= each.until - _WINDOW_MS:
                failed, every, oldest = failed - refused[oldest], every - requests[oldest], oldest + 1
            if not (failed > AUTH_NUMBER and failed > AUTH_SHARE * every):
                began = None
                continue
            began = each.since if began is None else began
            longest = max(longest, (each.until - began) / 1000)
        now = max(now, (measurements[-1].until - began) / 1000 if began is not None else 0)
    return longest, now


def _alerts(measurements: Sequence[Measurement], last: Sequence[CheckResult], failing: float) -> Iterator[str]:
    """The alerts whose condition holds now on this server."""
    if not measurements:
        return
    until, newest = measurements[-1].until, measurements[-1].figures
    for name, limit in LIMITS.items():
        if limit.exceeded(newest.plain.get(limit.gauge, 0), until / 1000):
            yield name
    share = _record_share(newest)
    recent = [each.figures for each in measurements if each.until > until - 3 * _WINDOW_MS]
    conditions = {
        "DaypassRecordIncomplete": share is not None and share < 1,
        "DaypassInternalErrors": any("InternalFailure" in each.codes for each in recent),
        "DaypassAuthFailures": failing > 0,
        "DaypassAuthFailuresUnremediated": failing > REMEDIATED_SECONDS,
        "DaypassCheckFailing": any(each.why and not each.forbidden for each in last),
        "DaypassForbiddenAccepted": any(each.accepted for each in last),
    }
    yield from (name for name, holds in conditions.items() if holds)


def _of_issuing(found: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    return {name: numbers for name, numbers in found.items() if name in ISSUING}


def _summed(found: Iterable[Mapping[str, tuple[int, ...]]]) -> tuple[int, ...]:
    """The buckets of all operations together."""
    return tuple(map(sum, zip(*(numbers for each in found for numbers in each.values()), strict=True)))


def _summed_by_operation(measurements: Iterable[Totals]) -> dict[str, tuple[int, ...]]:
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
        for name, (good, bad) in each.figures.checks.items():
            passed[name] += good
            failed[name] += bad
    runs = {result.name: result for result in last}
    return tuple(Check(name, passed[name], failed[name], runs.get(name)) for name in sorted({*passed, *failed, *runs}))
