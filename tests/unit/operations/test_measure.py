"""Figures of a server from its intervals: percentiles, buckets of time, operations, checks."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daypass.monitoring.alerts import LIMITS
from daypass.observability.metrics import SECONDS, Metrics
from daypass.observability.totals import CheckResult, Measurement, Totals, between, totals_of
from daypass.operations.record.measure import BUCKETS, measured_of

BOUNDS = (0.01, 0.1, 1.0)


def interval(since: int, latency: dict[str, tuple[int, ...]], **more: Any) -> Measurement:
    return Measurement(since, since + 10_000, Totals(latency, **more))


def test_measured_of_intervals_has_percentiles_by_bucket_and_operation() -> None:
    found = [
        interval(10_000, {"a": (98, 1, 1, 0)}, codes={"AccessDenied": 2, "SlowDown": 1}),
        interval(20_000, {"a": (0, 0, 0, 1), "b": (0, 50, 0, 0)}),
    ]
    measured = measured_of(found, BOUNDS, (), (0, 10_000 + BUCKETS * 10_000))
    assert (measured.since, measured.times[:2]) == (10_000, (10_000, 20_000))
    assert measured.heat[:3] == ((98, 1, 1, 0), (0, 50, 0, 1), ())
    assert measured.series["requests"][:3] == (100, 51, 0)
    assert measured.series["p50"][:3] == (10, 100, None)
    assert measured.series["p99"][:3] == (100, None, None)  # one of 51 was above all bounds
    assert measured.series["faults"][:2] == (1, 0)
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
    assert set(measured.series["requests"]) == {0}


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
    assert added.latency == {"sts:AssumeRole": (1, *(0,) * len(SECONDS))}
    assert (added.refused, added.faults, added.checks) == (0, 0, {"ready": (0, 0)})


def test_totals_of_a_registry_without_requests_are_empty() -> None:
    assert totals_of(CollectorRegistry().collect()) == Totals({})


def test_measured_of_failing_authentication_is_as_long_as_the_condition_of_its_alert_holds() -> None:
    def at(number: int, failed: int, cause: str = "proof") -> Measurement:
        return interval(number * 10_000, {"a": (20, 0, 0, 0)}, causes={cause: failed})

    few, many = [at(n, 1) for n in range(5)], [at(n, 2) for n in range(5, 65)]
    period = (0, 3_600_000)
    assert measured_of(few, BOUNDS, (), period).auth_failing == (0, 0)
    assert measured_of([at(n, 20, "request") for n in range(60)], BOUNDS, (), period).auth_failing == (0, 0)
    longest, now = measured_of([*few, *many], BOUNDS, (), period).auth_failing
    assert longest == now == 600  # from the sixth failure on
    repaired = [*few, *many, *(at(n, 0) for n in range(65, 120))]
    measured = measured_of(repaired, BOUNDS, (), period)
    assert 600 < measured.auth_failing[0] < 900  # the window of the alert is five minutes
    assert (measured.auth_failing[1], measured.alerts) == (0, ())
    unremediated = measured_of([at(n, 20) for n in range(181)], BOUNDS, (), period)
    assert unremediated.alerts == ("DaypassAuthFailures", "DaypassAuthFailuresUnremediated")


@pytest.mark.parametrize(
    ("plain", "alerts"),
    [
        ({}, ()),
        ({"daypass_degraded": 1.0}, ("DaypassDatabaseUnavailable",)),
        ({"daypass_clock_offset_seconds": -2.0}, ("DaypassClockWrong",)),
        ({"daypass_disk_free_ratio": 0.04}, ("DaypassDiskFull",)),
        ({"daypass_certificate_expires_seconds": 20 + 14 * 86_400}, ("DaypassCertificateExpires",)),
        ({"daypass_certificate_expires_seconds": 40 + 14 * 86_400}, ()),
        ({limit.gauge: 0.0 for limit in LIMITS.values()}, ()),
        ({"daypass_record_expected_total": 4.0, "daypass_record_found_total": 3.0}, ("DaypassRecordIncomplete",)),
        ({"daypass_record_expected_total": 4.0, "daypass_record_found_total": 4.0}, ()),
    ],
)
def test_measured_of_gauges_names_the_alerts_whose_limit_is_exceeded(
    plain: dict[str, float], alerts: tuple[str, ...]
) -> None:
    measured = measured_of([interval(20_000, {}, plain=plain)], BOUNDS, (), (0, 30_000))
    assert measured.alerts == alerts


async def test_totals_have_causes_without_what_checks_want_and_buckets_and_gauges() -> None:
    metrics = Metrics()
    metrics["daypass_refused"].labels("proof", "other").inc(3)
    metrics["daypass_checks"].labels("foreign key is refused", "proof", "refusal", "passed").inc(2)
    metrics["daypass_journal_commit_seconds"].observe(0.004)
    metrics["daypass_degraded"].set(1)
    found = await metrics.totals()
    assert found.causes["proof"] == 1
    assert found.plain["daypass_degraded"] == 1
    measured = measured_of([Measurement(20_000, 30_000, found)], SECONDS, (), (0, 30_000))
    assert (max(filter(None, measured.series["commit"])), max(filter(None, measured.series["degraded"]))) == (5, 1)
