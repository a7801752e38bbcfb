"""Computes how long cached data may be used after the last successful poll of the change feed.

Directory data may be used for `max_staleness`. Revocations have their own, shorter limit, because a process that cannot
reach the database does not know whether the other ones can. Times are monotonic seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind

_MAX_OWN: Final = 200_000


class Freshness:
    """Use it from one event loop.

    Args:
        monotonic: the clock.
        max_staleness: seconds.
        revocation_staleness: seconds; a process that was the only one listed has `max_staleness` instead.
    """

    def __init__(self, monotonic: Callable[[], float], max_staleness: float, revocation_staleness: float) -> None:
        self._monotonic = monotonic
        self._max = max_staleness
        self._limit = min(revocation_staleness, max_staleness)
        self._polled = float("-inf")
        self._others: frozenset[str] = frozenset()
        self._contacts: dict[str, float] = {}
        self.directory_until = float("-inf")
        """Nothing may be served from memory after this time."""
        self.revocations_until = float("-inf")
        """Whether a session has been revoked is not known after this time."""

    def stale(self) -> DaypassError:
        """The refusal of what depends on data that are too old."""
        public = (
            f"The data of this request are older than {self._max:g} s (directory.max_staleness_seconds), because the "
            "database is unavailable."
        )
        return DaypassError(ErrorKind.UNAVAILABLE, public, private={"directory": f"{self.age:.0f} s old"})

    @property
    def others(self) -> frozenset[str]:
        """The other processes that the registry listed at the last successful poll."""
        return self._others

    @property
    def age(self) -> float:
        """Seconds since the beginning of the last successful poll."""
        return max(0.0, self._monotonic() - self._polled)

    @property
    def polled_at(self) -> float:
        """When the last successful poll began."""
        return self._polled

    def polled(self, began: float, others: frozenset[str]) -> None:
        """A poll that began then has succeeded. `others`: the other processes that the registry lists."""
        self._polled = began
        self._others = others
        self.directory_until = began + self._max
        self._contacts = {node: at for node, at in self._contacts.items() if node in others}
        self._extend()

    def note_contact(self, node: str, at: float) -> None:
        """Every revocation that `node` knew at this time is known here. Nodes that are not listed do not count."""
        if node in self._others:
            self._contacts[node] = max(at, self._contacts.get(node, at))
            self._extend()

    def ages(self) -> dict[str, float]:
        """Seconds since the time until which the revocations of each process in contact are known."""
        now = self._monotonic()
        return {node: now - at for node, at in self._contacts.items()}

    def age_without_database(self) -> float | None:
        """Seconds since the time until which the revocations of all listed processes are known; None if one is silent."""
        if len(self._contacts) < len(self._others) or self._polled == float("-inf"):
            return None
        return max(self.ages().values(), default=0.0)

    def _extend(self) -> None:
        """The heartbeats of all listed processes extend the limit, but not beyond `max_staleness`."""
        if not self._others:
            self.revocations_until = self.directory_until
            return
        heard = self._polled
        if len(self._contacts) == len(self._others):
            heard = max(heard, min(self._contacts.values()))
        self.revocations_until = min(heard + self._limit, self.directory_until)


class OwnSessions:
    """The newest sessions that this process has issued, in bounded number."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, session_id: str) -> None:
        self._ids[session_id] = None
        if len(self._ids) > _MAX_OWN:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._ids


# --- Advanced settings of the cached directory


@dataclass(frozen=True, slots=True)
class Tuning:
    """Advanced settings.

    Attributes:
        absent, absent_seconds: how many keys known not to exist are cached, and for how long.
        compiled: maximum number of cached compiled policy documents.
        poll_timeout_seconds: time limit of a poll.
        poll_spacing_seconds: minimum time between the starts of two polls, so that many refusals cannot cause constant
        polling.
        monotonic, sleep: time, for tests.
    """

    absent: int = 10_000
    absent_seconds: float = 30.0
    compiled: int = 20_000
    poll_timeout_seconds: float = 3.0
    poll_spacing_seconds: float = 0.005
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
