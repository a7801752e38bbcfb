"""The cache of views, and until when its data may be used after the last poll of the change feed.

Only the event loop's thread may use it, without locks. It must never return a stale view, or one after a change of
one of its keys has been applied, and never add a view that was read before such a change.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores.view_codec import CachedView

MISSING: Final = object()
"""Marks a key that is not in the cache. None means that the entity is known not to exist."""

_MANY_RECENT = 10_000
_FEW = 8


class ViewCache:
    """A bounded cache of views by feed key.

    A view's own key is always one of its dependency keys. Keys known not to exist are also cached, in bounded number
    and for a bounded time.

    Args:
        entries: maximum number of views; the least recently used is evicted first.
        absent: maximum number of keys known not to exist; the oldest is evicted first.
        absent_seconds: how long such a key is cached.
        freshness: until when anything may be returned.
    """

    def __init__(
        self, entries: int, absent: int, absent_seconds: float, monotonic: Callable[[], float], freshness: Freshness
    ) -> None:
        self._freshness = freshness
        self._limit = entries
        self._absent_limit = absent
        self._absent_seconds = absent_seconds
        self._monotonic = monotonic
        self._views: OrderedDict[str, tuple[Any, tuple[str, ...]]] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._holders: dict[str, tuple[str, ...] | set[str]] = {}
        self._loads = 0
        self._recent: dict[str, int] = {}
        self._generation = 0
        self._remembers_after: int | None = None
        self.changes = 0
        """Number of invalidations so far."""

    def __len__(self) -> int:
        return len(self._views)

    @property
    def absent(self) -> int:
        """The number of cached keys known not to exist."""
        return len(self._absent)

    def __contains__(self, key: str) -> bool:
        """Whether there is a view under this key. Any thread may ask."""
        return key in self._views

    def get(self, key: str) -> Any:
        """The view, None if it is known not to exist, or MISSING. Raises DaypassError(UNAVAILABLE) when stale."""
        now = self._monotonic()
        if now > self._freshness.directory_until:
            raise self._freshness.stale()
        entry = self._views.get(key)
        if entry is not None:
            self._views.move_to_end(key)
            return entry[0]
        expires = self._absent.get(key)
        if expires is None:
            return MISSING
        if now < expires:
            return None
        del self._absent[key]
        return MISSING

    @property
    def generation(self) -> int:
        """Read it before a load begins. A view read in an earlier generation is not added."""
        return self._generation

    def begin_load(self) -> None:
        """Remembers invalidations for `overtaken`, from this call until `end_load`."""
        self._loads += 1

    def end_load(self) -> None:
        self._loads -= 1
        self._forget()

    def remember_after(self, position: int) -> None:
        """Remembers invalidations after this feed position also between loads, from the first call on, because views
        may be read at it. At the first call, no change after it may have been applied yet.
        """
        self._remembers_after = max(position, self._remembers_after or 0)
        self._forget()

    def remembers(self, position: int) -> bool:
        """Whether `overtaken` knows every invalidation after this feed position."""
        return self._remembers_after is not None and position >= self._remembers_after

    def _forget(self) -> None:
        if self._loads or not self._recent:
            return
        after = self._remembers_after
        self._recent = {} if after is None else {key: at for key, at in self._recent.items() if at > after}

    def overtaken(self, generation: int, position: int, keys: Iterable[str]) -> bool:
        """Whether a view read at feed `position`, in a load begun in `generation`, has since been invalidated by any of
        these keys.
        """
        if generation != self._generation:
            return True
        recent = self._recent
        return any(recent.get(key, 0) > position for key in keys) if recent else False

    def put(self, key: str, view: Any, keys: tuple[str, ...]) -> None:
        """Adds a view, or the fact that it does not exist. `keys` are its other dependency keys."""
        self._drop(key)
        if view is None:
            self._absent[key] = self._monotonic() + self._absent_seconds
            if len(self._absent) > self._absent_limit:
                self._absent.popitem(last=False)
            return
        self._views[key] = (view, keys)
        for dependency in keys:
            holders = self._holders.get(dependency, ())
            if isinstance(holders, set):
                holders.add(key)
            else:  # most keys have one dependent view: a tuple is a quarter of the size of a set
                self._holders[dependency] = {*holders, key} if len(holders) >= _FEW else (*holders, key)
        if len(self._views) > self._limit:
            self._drop(next(iter(self._views)))

    def newest(self, limit: int) -> list[CachedView]:
        """The most recently used views, the last one used last."""
        items = list(self._views.items())[-limit:]
        return [CachedView(key, view, keys) for key, (view, keys) in items]

    def invalidate(self, keys: Iterable[str], position: int) -> None:
        """Applies a change at `position`: removes every view that depends on one of these keys."""
        self.changes += 1
        for key in keys:
            self._drop(key)
            for holder in tuple(self._holders.get(key, ())):
                self._drop(holder)
            if self._loads or self._remembers_after is not None:
                self._recent[key] = max(position, self._recent.get(key, 0))
        if len(self._recent) > _MANY_RECENT:
            self._begin_generation(max(self._recent.values()))

    def flush(self, position: int) -> None:
        """Removes everything. The results of loads in flight are not added. `position`: of the feed, from now on."""
        self._views.clear()
        self._absent.clear()
        self._holders.clear()
        self._begin_generation(position)
        self.changes += 1

    def _begin_generation(self, position: int) -> None:
        """Forgets the invalidations, all of which were at this position or before it."""
        self._recent.clear()
        self._generation += 1
        if self._remembers_after is not None:
            self._remembers_after = position

    def _drop(self, key: str) -> None:
        self._absent.pop(key, None)
        entry = self._views.pop(key, None)
        if entry is None:
            return
        for dependency in entry[1]:
            holders = self._holders.get(dependency)
            if isinstance(holders, set):
                holders.discard(key)
            elif holders is not None:
                holders = self._holders[dependency] = tuple(holder for holder in holders if holder != key)
            if not holders:
                self._holders.pop(dependency, None)


# --- Computes how long cached data may be used after the last successful poll of the change feed


_MAX_OWN: Final = 200_000


class Freshness:
    """Use it from one event loop.

    Args:
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
