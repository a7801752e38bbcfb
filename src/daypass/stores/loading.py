"""Loads views into the directory's cache: one load for all who miss a view, and few snapshots for a burst of misses.

It must never cache a view that a change applied since has made stale, nor one from another epoch of the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.stores.batch import Batch, Load, load_batch
from daypass.stores.cache import ViewCache
from daypass.stores.log_heads import FeedHead
from daypass.stores.views import Loaded

BATCH: Final = 64
"""Views in one snapshot: a thread holds the interpreter for some milliseconds with so many."""
_AT_ONCE: Final = 1
"""Batches that begin with any miss. Many small batches cost more than a few large ones, and threads share the interpreter."""
_MIN_FOR_ANOTHER: Final = BATCH // 2
"""Misses that wait, from which on every free thread takes a batch."""
_LONGEST_KEY = 2_200  # an ARN has at most 2,048 characters
_MAX_LOADS = 4_096
_ATTEMPTS = 10


class ViewLoader:
    """Use it from one event loop.

    Args:
        cache: where the views go.
        threads: batches that may be read at the same time.
        seen: the feed position that the directory has applied.
        poll: polls the change feed.
        on_thread: calls a function with a connection whose reads are one snapshot.
        on_standby: the same on a standby near this process; None when there is none to use.
        spawn: starts a task that the directory ends when it stops.
    """

    def __init__(  # what it needs of the directory
        self,
        cache: ViewCache,
        threads: int,
        *,
        seen: Callable[[], FeedPosition],
        poll: Callable[[], Awaitable[None]],
        on_thread: Callable[[Callable[[Connection], Any]], Awaitable[Any]],
        on_standby: Callable[[Callable[[Connection], Batch]], Awaitable[Batch | None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._cache = cache
        self._threads = threads
        self._seen = seen
        self._poll = poll
        self._on_thread = on_thread
        self._on_standby = on_standby
        self._spawn = spawn
        self._loading: dict[str, list[asyncio.Future[Any]]] = {}  # a future for each who waits
        self._missed: dict[str, Load] = {}  # the keys among them that no batch has taken yet
        self._batches = 0

    @property
    def in_flight(self) -> int:
        """Views that somebody may be waiting for."""
        return len(self._loading)

    async def load(self, key: str, load: Load) -> Any:
        """The view under a cache key. Raises DaypassError(UNAVAILABLE), also when the view cannot be read."""
        if len(key) > _LONGEST_KEY:
            return None  # no entity has such a name
        future = asyncio.get_running_loop().create_future()
        waiting = self._loading.get(key)
        if waiting is not None:
            waiting.append(future)
        else:
            if len(self._loading) >= _MAX_LOADS:
                raise unavailable("too many loads in flight")
            self._loading[key] = [future]
            self._missed[key] = load
            self._begin_batches()
        return await future

    def cancel(self) -> None:
        """Cancels those who wait. Call it before the tasks of the batches are cancelled."""
        self._missed.clear()
        for waiting in self._loading.values():
            for future in waiting:
                future.cancel()

    def _begin_batches(self) -> None:
        """A miss is loaded at once if few batches are running. Misses that arrive in the meantime are loaded together in
        the next batch.
        """
        while self._missed and self._batches < self._threads:
            if self._batches >= _AT_ONCE and len(self._missed) < _MIN_FOR_ANOTHER:
                return
            keys = list(islice(self._missed, BATCH))
            self._batches += 1
            self._spawn(self._load_batch({key: self._missed.pop(key) for key in keys}))

    async def _load_batch(self, loads: dict[str, Load]) -> None:
        """Reads views and feed position in one snapshot. Repeats the read if a change of a dependency has been applied
        since.
        """
        self._cache.begin_load()
        try:
            await self._load_from_standby(loads)
            for _ in range(_ATTEMPTS):
                if not loads:
                    return
                before, generation = self._seen(), self._cache.generation
                batch = await self._on_thread(partial(load_batch, loads, self._cache.__contains__))
                if batch.head.epoch != self._seen().epoch or batch.head.position < before.position:
                    await self._poll()  # another epoch of the database, or not the server that was polled
                    continue
                self._accept_batch(loads, batch, generation)
            self._fail(loads, unavailable("what was loaded kept changing"))
        except Exception as error:  # noqa: BLE001  # raised where the views are waited for
            self._fail(loads, error)
        except asyncio.CancelledError:
            for key in loads:
                for future in self._loading.pop(key):
                    future.cancel()
            raise
        finally:
            self._cache.end_load()
            self._batches -= 1
            self._begin_batches()

    async def _load_from_standby(self, loads: dict[str, Load]) -> None:
        """Takes the views that no change which is applied here and missing there has affected. The others stay in `loads`."""
        generation = self._cache.generation
        batch = await self._on_standby(partial(load_batch, loads, self._cache.__contains__))
        if batch is not None and batch.head.epoch == self._seen().epoch and self._cache.remembers(batch.head.position):
            self._accept_batch(loads, batch, generation)

    def _accept_batch(self, loads: dict[str, Load], batch: Batch, generation: int) -> None:
        for key, loaded in batch.loaded.items():
            if self._accept(key, loaded, batch.head, generation):
                del loads[key]
        self._cache_ahead(batch, generation)

    def _accept(self, key: str, loaded: Loaded | Exception, head: FeedHead, generation: int) -> bool:
        """Caches one view and returns it to the waiting callers. Returns False when a change has overtaken it."""
        if isinstance(loaded, Exception):
            self._fail((key,), _unreadable(key, loaded) if isinstance(loaded, ValueError) else loaded)
            return True
        if not self._cached(key, loaded, head, generation):
            return False
        for future in self._loading.pop(key):
            if not future.done():  # a caller may have been cancelled
                future.set_result(loaded.view)
        return True

    def _cache_ahead(self, batch: Batch, generation: int) -> None:
        """Caches the views that nobody has asked for yet."""
        for key, loaded in batch.ahead.items():
            if key not in self._loading and key not in self._cache:
                self._cached(key, loaded, batch.head, generation)

    def _cached(self, key: str, loaded: Loaded, head: FeedHead, generation: int) -> bool:
        """Caches one view. Returns False when a change has overtaken it."""
        keys = (key, *loaded.keys, loaded.alias) if loaded.alias else (key, *loaded.keys)
        if self._cache.overtaken(generation, head.position, keys):
            return False
        self._cache.put(key, loaded.view, loaded.keys)
        if loaded.alias:
            self._cache.put(loaded.alias, loaded.view, loaded.keys)
        return True

    def _fail(self, keys: Iterable[str], error: Exception) -> None:
        for future in (future for key in keys for future in self._loading.pop(key)):
            if not future.done():
                future.set_exception(error)


def unavailable(why: str, **private: Any) -> DaypassError:
    """The directory cannot answer; `why` and `private` go to the log and the record only."""
    return DaypassError(
        ErrorKind.UNAVAILABLE,
        "The service is unavailable. Please try again shortly.",
        private={"directory": why, **private},
    )


def _unreadable(key: str, error: ValueError) -> DaypassError:
    logs.get().error("directory.load_failed", key=key, error=type(error).__name__)
    made = unavailable(f"{key} cannot be read: {type(error).__name__}")
    made.__cause__ = error
    return made
