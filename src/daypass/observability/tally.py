"""Request figures, summed up between the times at which they can be read.

The library's instruments take a lock or write to a shared file for each observation. A tally is a few additions, passed
on ten times a second. It must not be used from more than one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any


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
