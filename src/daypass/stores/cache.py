"""Views in memory, each with the feed keys it rests on, so that one change throws out exactly what it touched.

For the event loop's thread alone: nothing here locks. It must never hand out a view after a change of one of its keys
has been applied, nor take one in that was read before such a change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

MISSING: Final = object()
"""Not in the cache; None means known not to exist."""

_MANY_RECENT = 10_000
_FEW = 8


class ViewCache:
    """A bounded cache of views by feed key.

    A view's own key is always one of the keys it rests on. What does not exist is remembered too: a bounded number of
    keys, each for a bounded time.

    Args:
        entries: views kept; the least recently used go first.
        absent: keys remembered not to exist; the oldest go first.
        absent_seconds: for how long.
        monotonic: seconds, of a clock that never steps.
    """

    def __init__(self, entries: int, absent: int, absent_seconds: float, monotonic: Callable[[], float]) -> None:
        self._limit = entries
        self._absent_limit = absent
        self._absent_seconds = absent_seconds
        self._monotonic = monotonic
        self._views: OrderedDict[str, tuple[Any, tuple[str, ...]]] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._holders: dict[str, tuple[str, ...] | set[str]] = {}
        self._loads = 0
        self._recent: dict[str, int] = {}
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._views)

    @property
    def absent(self) -> int:
        """How many keys are remembered not to exist."""
        return len(self._absent)

    def get(self, key: str) -> Any:
        """The view, None when it is known not to exist, or MISSING."""
        entry = self._views.get(key)
        if entry is not None:
            self._views.move_to_end(key)
            return entry[0]
        expires = self._absent.get(key)
        if expires is None:
            return MISSING
        if self._monotonic() < expires:
            return None
        del self._absent[key]
        return MISSING

    @property
    def epoch(self) -> int:
        """Note it before a load begins: what was read in an earlier epoch is not taken in."""
        return self._epoch

    def begin_load(self) -> None:
        """From now until `end_load`, invalidations are remembered, so that `overtaken` can tell."""
        self._loads += 1

    def end_load(self) -> None:
        self._loads -= 1
        if not self._loads:
            self._recent.clear()

    def overtaken(self, epoch: int, position: int, keys: Iterable[str]) -> bool:
        """Whether what was read at feed `position`, begun in `epoch`, has been invalidated since by any of these keys."""
        if epoch != self._epoch:
            return True
        recent = self._recent
        return any(recent.get(key, 0) > position for key in keys) if recent else False

    def put(self, key: str, view: Any, keys: tuple[str, ...]) -> None:
        """Takes a view in, or the fact that there is none. `keys` are the others that it rests on."""
        self._drop(key)
        if view is None:
            self._absent[key] = self._monotonic() + self._absent_seconds
            if len(self._absent) > self._absent_limit:
                self._absent.popitem(last=False)
            return
        self._views[key] = (view, keys)
        for held in keys:
            holders = self._holders.get(held, ())
            if isinstance(holders, set):
                holders.add(key)
            else:  # most keys have one holder: a tuple is a quarter of a set
                self._holders[held] = {*holders, key} if len(holders) >= _FEW else (*holders, key)
        if len(self._views) > self._limit:
            self._drop(next(iter(self._views)))

    def invalidate(self, keys: Iterable[str], position: int) -> None:
        """A change at `position` touched these keys: every view that rests on one of them goes."""
        for key in keys:
            self._drop(key)
            for holder in tuple(self._holders.get(key, ())):
                self._drop(holder)
            if self._loads:
                self._recent[key] = max(position, self._recent.get(key, 0))
        if len(self._recent) > _MANY_RECENT:
            self._recent.clear()
            self._epoch += 1

    def flush(self) -> None:
        """Forgets everything; of loads in flight, nothing is taken in any more."""
        self._views.clear()
        self._absent.clear()
        self._holders.clear()
        self._recent.clear()
        self._epoch += 1

    def _drop(self, key: str) -> None:
        self._absent.pop(key, None)
        entry = self._views.pop(key, None)
        if entry is None:
            return
        for held in entry[1]:
            holders = self._holders.get(held)
            if isinstance(holders, set):
                holders.discard(key)
            elif holders is not None:
                holders = self._holders[held] = tuple(holder for holder in holders if holder != key)
            if not holders:
                self._holders.pop(held, None)
