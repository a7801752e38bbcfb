"""A streaming standby near this process: views are loaded from it, and it is read while the primary cannot be reached.

It must never count as newer than its data, and nothing may be taken from a server that is not a standby of the primary
that was polled. A change that is applied here and missing there must not be undone by what is read there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, text

from daypass.domain.errors import DaypassError
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.stores.applied_feed import AppliedFeed, Polled, follow
from daypass.stores.cache import Freshness, ViewCache
from daypass.stores.engine import Database
from daypass.stores.nodes import listed_nodes, newest_report

T = TypeVar("T")

MUCH_BEHIND_SECONDS: Final = 30.0
"""Operators are warned of a standby whose data are older. Servers write every five seconds, so a good one stays below."""
_RECENT_SECONDS: Final = 2.0
"""A standby that was not looked at for so long, because it hangs, is not used."""
_UNREACHABLE: Final = "it does not answer"
_NOT_YET: Final = "it has not answered yet"
_PROMOTED: Final = "it is not a standby (any more): database.read_url must name a streaming standby of database.url"
_ANOTHER: Final = "it follows another cluster or another timeline than the primary"
_REPLAY: Final = text(
    "SELECT pg_is_in_recovery(), (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000)::bigint"
)


class StandbyStatus(NamedTuple):
    """The status that a standby reported. `replayed`: by the primary's clock, ms; everything acknowledged before it is there."""

    recovering: bool
    replayed: int
    polled: Polled


def read_status(database: Database, cursor: FeedPosition) -> StandbyStatus:
    """Reads how far the standby is, and the changes after `cursor`. Raises DaypassError(UNAVAILABLE).

    The time of the replay is read before the snapshot of the changes is taken, so the changes are not older.
    """
    recovering, replayed = database.read(lambda conn: tuple(conn.execute(_REPLAY).one()), probe=True)
    reported, polled = database.read(partial(_changes, cursor=cursor), probe=True)
    return StandbyStatus(recovering, max(replayed or 0, reported), polled)


def _changes(conn: Connection, cursor: FeedPosition) -> tuple[int, Polled]:
    return newest_report(conn), follow(conn, cursor)._replace(nodes=listed_nodes(conn))


class Standby:
    """Use it from one event loop, `read` and `read_after` from any thread.

    Args:
        clock: wall time, for a process that has never reached the primary.
        advanced: called with the time (monotonic) up to which changes are known, and the listed processes, when that is
            later than the last poll of the primary.
    """

    def __init__(  # each is a part of the directory
        self,
        database: Database,
        clock: Clock,
        applied: AppliedFeed,
        cache: ViewCache,
        freshness: Freshness,
        *,
        advanced: Callable[[float, frozenset[str]], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._database = database
        self._clock = clock
        self._applied = applied
        self._cache = cache
        self._freshness = freshness
        self._advanced = advanced
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="daypass-standby")
        self._primary_clock: tuple[float, int] | None = None
        self._polled_at = self._as_of = float("-inf")
        self._replayed = (0, float("-inf"))  # the newest replayed time, and when it was first read
        self.problem = _NOT_YET
        """Why it is not used; "" when it is."""
        self.reads = 0
        """Number of snapshots read from it, without those that look how far it is."""

    @property
    def usable(self) -> bool:
        """Whether it is worth asking: it answered a moment ago, and is a standby of the primary that was polled."""
        return not self.problem and self._monotonic() - self._polled_at < _RECENT_SECONDS

    @property
    def age_seconds(self) -> float:
        """How old its data are at most. Servers write every five seconds, so it is up to that while nothing changes."""
        return max(0.0, self._monotonic() - self._as_of)

    def warning(self) -> str:
        """For an operator: why it is not used, or that it is far behind; "" when all is well. It names no host."""
        if self.problem or not self.usable:
            return f"the standby of database.read_url is not read: {self.problem or 'it does not answer'}"
        if self.age_seconds > MUCH_BEHIND_SECONDS:
            return f"the standby of database.read_url is {self.age_seconds:.0f} s behind"
        return ""

    def begin(self) -> None:
        """Remembers changes from now on, for as long as it lacks them. Call it before anything is loaded."""
        self._cache.remember_after(self._applied.position.position)

    def note_primary_clock(self, began: float, clock: int | None) -> None:
        """The primary's clock showed `clock` (ms) after a poll that began then."""
        if clock is not None:
            self._primary_clock = (began, clock)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one snapshot. Raises DaypassError(UNAVAILABLE)."""
        self.reads += 1
        return self._database.read(work)

    def read_after(self, work: Callable[[Connection], T], seen: FeedPosition) -> T:
        """The same in a snapshot that has everything up to `seen`."""
        self.reads += 1
        return self._database.read_after(work, seen)

    async def poll(self) -> None:
        """Finds out how far it is, and applies what it has and this process lacks."""
        began, cursor = self._monotonic(), self._applied.position
        try:
            status = await asyncio.get_running_loop().run_in_executor(self._thread, read_status, self._database, cursor)
        except DaypassError as error:
            self._report(_UNREACHABLE, **error.private)
            return
        self._polled_at = began
        self._report(self._unsuitable(status))
        if not self.problem:
            self._apply(status, began)

    async def stop(self) -> None:
        """Ends its thread. The database stays open."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _unsuitable(self, status: StandbyStatus) -> str:
        if not status.recovering:
            return _PROMOTED
        return "" if status.polled.head.epoch == self._applied.position.epoch else _ANOTHER

    def _apply(self, status: StandbyStatus, began: float) -> None:
        polled = status.polled
        self._applied.apply_standby(polled)
        applied, replicated = self._applied.position.position, polled.head.position
        self._cache.remember_after(min(applied, replicated))
        self._as_of = max(self._as_of, self._time_of(status.replayed, began))
        if replicated <= applied and self._as_of > self._freshness.polled_at:
            self._advanced(self._as_of, polled.nodes)

    def _time_of(self, replayed: int, began: float) -> float:
        """The monotonic time before which everything was known to the standby, never later than it can be.

        The primary's clock is compared with itself, so this process's clock does not matter. Data that have not changed
        since an earlier poll are not newer than that poll, whatever the clocks say.
        """
        if replayed > self._replayed[0]:
            self._replayed = (replayed, began)
        if self._primary_clock is not None:
            polled, clock = self._primary_clock
            time = polled + (replayed - clock) / 1000
        else:
            time = began - (self._clock.now() - replayed) / 1000
        return min(time, self._replayed[1])

    def _report(self, problem: str, **cause: Any) -> None:
        if problem != self.problem:
            if problem:
                logs.get().warning("standby.not_used", reason=problem, **cause)
            else:
                logs.get().info("standby.in_use")
        self.problem = problem
