"""What the metrics say about requests so far: numbers that only grow, so that two of them give the figures of the time
between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

FAULTS: Final = frozenset(
    {"InternalFailure", "ServiceUnavailable", "SlowDown", "server_error", "temporarily_unavailable"}
)
"""Codes of answers that are the fault of the server, not of the request."""


class Totals(Struct, frozen=True):
    """Since the start of the server.

    Attributes:
        latency: by operation, the number of requests in each bucket of `metrics.SECONDS`, and in the one above them.
        refused, faults: requests refused, and those of them that were the fault of the server.
        checks: by name of a synthetic check, how often it passed and failed.
    """

    latency: Mapping[str, tuple[int, ...]]
    refused: int = 0
    faults: int = 0
    checks: Mapping[str, tuple[int, int]] = {}


def totals_of(families: Iterable[Any]) -> Totals:
    """From the metric families of a registry."""
    buckets: dict[str, list[tuple[float, float]]] = defaultdict(list)
    refused = faults = 0
    checks: dict[str, list[int]] = {}
    for family in families:
        for sample in family.samples:
            labels, value = sample.labels, sample.value
            if sample.name == "daypass_request_seconds_bucket":
                buckets[labels["operation"]].append((float(labels["le"]), value))
            elif sample.name == "daypass_requests_total" and labels["code"] != "OK":
                refused += int(value)
                faults += int(value) if labels["code"] in FAULTS else 0
            elif sample.name == "daypass_checks_total":
                checks.setdefault(labels["check"], [0, 0])[labels["outcome"] != "passed"] += int(value)
    latency = {operation: _separate(sorted(found)) for operation, found in buckets.items()}
    return Totals(latency, refused, faults, {name: (each[0], each[1]) for name, each in checks.items()})


def _separate(cumulative: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Numbers of single buckets from those up to a bound."""
    numbers = [int(value) for _, value in cumulative]
    return tuple(here - before for before, here in zip([0, *numbers], numbers, strict=False))


def between(earlier: Totals, later: Totals) -> Totals:
    """What was added between two moments."""
    latency = {}
    for operation, found in later.latency.items():
        before = earlier.latency.get(operation, (0,) * len(found))
        added = tuple(max(0, here - there) for here, there in zip(found, before, strict=True))
        if any(added):
            latency[operation] = added
    checks = {}
    for name, (passed, failed) in later.checks.items():
        passed_before, failed_before = earlier.checks.get(name, (0, 0))
        checks[name] = max(0, passed - passed_before), max(0, failed - failed_before)
    refused, faults = later.refused - earlier.refused, later.faults - earlier.faults
    return Totals(latency, max(0, refused), max(0, faults), checks)


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
    """The last run of a synthetic check. `why`: what was wrong; "" when it passed. `forbidden`: it must be refused.
    `accepted`: it was served all the same.
    """

    name: str
    at: int
    seconds: float
    why: str
    forbidden: bool = False
    accepted: bool = False


# --- Request figures, summed up between the times at which they can be read


class Tally:
    """Requests of one kind: how many, and how long they took.

    Args:
        counters: incremented by the number of requests.
        histograms: of the same buckets; they get each request's seconds.
        bounds: the upper bounds of these buckets, the infinite one left out.
    """

    __slots__ = ("_bounds", "_buckets", "_counters", "_histograms", "_seconds")

    def __init__(self, counters: Sequence[Any], histograms: Sequence[Any], bounds: Sequence[float]) -> None:
        self._counters = counters
        self._histograms = histograms
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """One request."""
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def publish(self) -> None:
        """Adds the collected figures to the instruments."""
        count = sum(self._buckets)
        if not count:
            return
        for counter in self._counters:
            counter.inc(count)
        for histogram in self._histograms:
            # The library can only observe one value at a time; these are the two things that this does.
            histogram._sum.inc(self._seconds)  # noqa: SLF001
            for bucket, number in zip(histogram._buckets, self._buckets, strict=True):  # noqa: SLF001
                if number:
                    bucket.inc(number)
        self._buckets = [0] * len(self._buckets)
        self._seconds = 0.0
