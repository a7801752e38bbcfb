"""Figures of a server from its intervals: percentiles, buckets of time, operations, checks."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from daypass.observability.metrics import SECONDS, Metrics
from daypass.observability.totals import CheckResult, Measurement, Totals, between, totals_of
from daypass.operations.record.measure import BUCKETS, measured_of

BOUNDS = (0.01, 0.1, 1.0)


def interval(since: int, latency: dict[str, tuple[int, ...]], **more: object) -> Measurement:
    values = {"refused": 0, "faults": 0, "checks": {}, **more}
    return Measurement(since, since + 10_000, latency, **values)  # type: ignore[arg-type]


def test_measured_of_intervals_has_percentiles_by_bucket_and_operation() -> None:
    found = [
        interval(10_000, {"a": (98, 1, 1, 0)}, refused=3, faults=1),
        interval(20_000, {"a": (0, 0, 0, 1), "b": (0, 50, 0, 0)}),
    ]
    measured = measured_of(found, BOUNDS, (), (0, 10_000 + BUCKETS * 10_000))
    assert (measured.since, measured.times[:2]) == (10_000, (10_000, 20_000))
    assert measured.heat[:3] == ((98, 1, 1, 0), (0, 50, 0, 1), ())
    assert measured.requests[:3] == (100, 51, 0)
    assert measured.p50[:3] == (10, 100, None)
    assert measured.p99[:3] == (100, None, None)  # one of 51 was above all bounds
    assert measured.faults[:2] == (1, 0)
    assert (measured.latency.count, measured.latency.p95, measured.refused) == (151, 100, 3)
    by_name = {each.operation: each.latency for each in measured.operations}
    assert (by_name["b"].p50, by_name["b"].p99) == (100, 100)
    assert measured.operations[0].operation == "b"  # it used the most time


def test_measured_of_requests_above_all_bounds_has_no_percentile() -> None:
    measured = measured_of([interval(0, {"a": (0, 0, 0, 5)})], BOUNDS, (), (0, 10_000))
    assert (measured.latency.count, measured.latency.p50) == (5, None)


def test_measured_of_nothing_is_empty() -> None:
    measured = measured_of([], BOUNDS, (), (0, 10_000))
    assert (measured.latency.count, measured.operations, measured.checks) == (0, (), ())
    assert set(measured.requests) == {0}


def test_measured_of_checks_sums_runs_and_shows_the_last() -> None:
    last = CheckResult("ready", 7, 0.1, "no answer")
    found = [interval(0, {}, checks={"ready": (3, 1)}), interval(1_000, {}, checks={"ready": (2, 0), "other": (1, 0)})]
    checks = measured_of(found, BOUNDS, [last], (0, 10_000)).checks
    assert [(c.name, c.passed, c.failed, c.last) for c in checks] == [("other", 1, 0, None), ("ready", 5, 1, last)]


async def test_totals_count_refusals_faults_and_checks_of_all_operations() -> None:
    metrics = Metrics()
    for code, seconds in (("", 0.0005), ("AccessDenied", 0.003), ("InternalFailure", 9.0)):
        metrics.observe("sts:AssumeRole", code, seconds)
    metrics["daypass_checks"].labels("ready", "none", "success", "failed").inc()
    first = await metrics.totals()
    numbers = first.latency["sts:AssumeRole"]
    assert (len(numbers), numbers[0], numbers[2], numbers[-1]) == (len(SECONDS) + 1, 1, 1, 1)
    assert (first.refused, first.faults, first.checks) == (2, 1, {"ready": (0, 1)})
    metrics.observe("sts:AssumeRole", "", 0.0005)
    added = between(first, await metrics.totals())
    assert added == Totals({"sts:AssumeRole": (1, *(0,) * len(SECONDS))}, 0, 0, {"ready": (0, 0)})


def test_totals_of_a_registry_without_requests_are_empty() -> None:
    assert totals_of(CollectorRegistry().collect()) == Totals({})
