"""What a server has measured of itself in the last hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


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


class Measurements(Protocol):
    """Kept in memory, for a limited time."""

    @property
    def bounds(self) -> Sequence[float]:
        """The upper bounds of the buckets in seconds."""
        ...

    def after(self, since: int) -> Sequence[Measurement]:
        """The intervals that have ended after `since` (ms), oldest first."""
        ...

    def last_checks(self) -> Sequence[CheckResult]:
        """The last run of each check by this process; none when checks are off."""
        ...
