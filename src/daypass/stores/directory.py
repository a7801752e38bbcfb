"""The cached directory: `ports.Directory` over views in memory that follow the change feed.

A hit costs a dictionary look-up and never waits. It must never serve a view that a change it has applied made stale,
never say to have seen (`seen`) a position it has not applied, and never serve at all once it has not followed the feed
for `max_staleness_seconds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import Hop, Seen, SessionClaims
from daypass.observability import logs
from daypass.ports import (
    Clock,
    Reader,
)
from daypass.stores.backend import FeedHead
from daypass.stores.book import KEEP_MS, RevocationBook
from daypass.stores.cache import ViewCache
from daypass.stores.coalesce import Coalesced
from daypass.stores.engine import Database
from daypass.stores.feed import Change, feed_head
from daypass.stores.follow import Polled, poll, restore_revocations
from daypass.stores.lookups import Lookups
from daypass.stores.tuning import Tuning
from daypass.stores.tx import StoreReader
from daypass.stores.views import Loaded, OpensSecrets, Views

T = TypeVar("T")

_LONGEST_KEY = 2_200  # an ARN has at most 2,048 characters
_MOST_LOADS = 4_096
_ATTEMPTS = 10
_SPENT_EVERY_MS = 3_600_000


_TUNING = Tuning()


class CachedDirectory(Lookups):
    """Use it from one event loop. `start` reads where the feed stands; `stop` ends the poller and the threads.

    Args:
        database: whose feed is followed and whose rows are read; never two different servers.
        sealer: opens the secrets of access keys.
        clock: wall time, for revocations alone.
        builtin: text of the managed policies that come with Daypass, by ARN.
        poll_seconds: the pause between two polls; 0 leaves polling to `refresh`.
        max_staleness_seconds: counted from the beginning of the last poll that succeeded.
        entries: views kept.
        tuning: the rest.
    """

    def __init__(
        self,
        database: Database,
        sealer: OpensSecrets,
        clock: Clock,
        *,
        builtin: Mapping[str, str],
        poll_seconds: float = 0.25,
        max_staleness_seconds: float = 900.0,
        entries: int = 100_000,
        tuning: Tuning = _TUNING,
    ) -> None:
        self._database = database
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._max_staleness = max_staleness_seconds
        self._tuning = tuning
        self._monotonic = tuning.monotonic
        self._views = Views(sealer, builtin, tuning.compiled)
        self._cache = ViewCache(entries, tuning.absent, tuning.absent_seconds, tuning.monotonic)
        self._book = RevocationBook()
        self._seen = Seen("", 0)
        self._stale_after = float("-inf")
        self._polled_at = float("-inf")
        self._spent_at = 0
        self._moves = 0
        self._failing = False
        self._polls = Coalesced(self._poll)
        self._loading: dict[str, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._load_threads = ThreadPoolExecutor(database.readers, thread_name_prefix="daypass-read")
        self._poll_thread = ThreadPoolExecutor(1, thread_name_prefix="daypass-poll")

    # --- Life

    async def start(self) -> None:
        """Reads the feed's head and the revocations. Raises DaypassError(UNAVAILABLE) when it cannot."""
        await self._polls.run()
        if self._poll_seconds:
            self._spawn(self._follow())

    async def stop(self) -> None:
        """Ends the poller, loads in flight and the threads; the database stays open."""
        tasks = [*self._tasks, *self._loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._polls.stop()
        for threads in (self._load_threads, self._poll_thread):  # a connection still in use would never be closed
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        while True:
            await self._tuning.sleep(self._poll_seconds)
            await self._quiet_poll()

    async def _quiet_poll(self) -> None:
        try:
            await self._polls.run()
        except DaypassError:
            pass  # logged where it happened; staleness is what counts
        except Exception:  # noqa: BLE001 - the poller must live; what it cannot read makes the directory stale
            logs.get().error("directory.poll_broken", exc_info=True)

    # --- What is known, at no cost

    @property
    def entries(self) -> int:
        """Views in memory."""
        return len(self._cache)

    @property
    def revocations(self) -> int:
        """Revocations that may still matter."""
        return len(self._book)

    def staleness_seconds(self) -> float:
        """Time since the beginning of the last poll that succeeded."""
        return max(0.0, self._monotonic() - (self._stale_after - self._max_staleness))

    def seen(self) -> Seen:
        """The incarnation and position that this process has applied. Take it before reading anything else."""
        return self._seen

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        """The revocation that killed this session, if any. Raises DaypassError(UNAVAILABLE) when stale."""
        self._refuse_stale()
        return self._book.index.revoked(claims)

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """A blocking revocation in force on anyone in these hops. Raises DaypassError(UNAVAILABLE) when stale."""
        self._refuse_stale()
        return self._book.index.blocked(hops, source_identity, now)

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Runs `query` in one snapshot on a store thread. Raises DaypassError(UNAVAILABLE)."""
        return await self._on_thread(lambda conn: query(StoreReader(conn)))

    def _hit(self, key: str) -> Any:
        if self._monotonic() > self._stale_after:
            self._refuse_stale()
        return self._cache.get(key)

    def _refuse_stale(self) -> None:
        if self._monotonic() > self._stale_after:
            raise _unavailable("the directory is older than max_staleness")

    # --- Loading

    async def _miss(self, key: str, load: Callable[[Reader], Loaded]) -> Any:
        """Loads a view; all who miss it at the same time share one load."""
        if len(key) > _LONGEST_KEY:
            return None  # nothing has such a name
        task = self._loading.get(key)
        if task is None:
            if len(self._loading) >= _MOST_LOADS:
                raise _unavailable("too many loads in flight")
            task = asyncio.get_running_loop().create_task(self._load(key, load))
            self._loading[key] = task
            task.add_done_callback(partial(self._loaded, key))
        return await asyncio.shield(task)

    def _loaded(self, key: str, task: asyncio.Task[Any]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # its waiters may all have been cancelled

    async def _load(self, key: str, load: Callable[[Reader], Loaded]) -> Any:
        """Reads view and feed position in one snapshot, again if a change of what it rests on has been applied since."""
        self._cache.begin_load()
        try:
            for _ in range(_ATTEMPTS):
                before, epoch = self._seen, self._cache.epoch
                head, loaded = await self._on_thread(partial(_snapshot, load))
                if head.incarnation != self._seen.incarnation or head.position < before.position:
                    await self._polls.run()  # another life of the database, or not the server that was polled
                    continue
                keys = (key, *loaded.keys, loaded.alias) if loaded.alias else (key, *loaded.keys)
                if self._cache.overtaken(epoch, head.position, keys):
                    continue
                self._cache.put(key, loaded.view, loaded.keys)
                if loaded.alias:
                    self._cache.put(loaded.alias, loaded.view, loaded.keys)
                return loaded.view
            raise _unavailable("what was loaded kept changing")
        except ValueError as error:
            logs.get().error("directory.load_failed", key=key, error=type(error).__name__)
            raise _unavailable(f"{key} cannot be read: {type(error).__name__}") from error
        finally:
            self._cache.end_load()

    async def _on_thread(self, work: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._load_threads, self._database.read, work)

    # --- Following the feed

    async def refresh(self) -> bool:
        """One coalesced poll; whether anything had changed since this was called.

        Raises DaypassError(UNAVAILABLE) when the database cannot be asked.
        """
        moves = self._moves
        await self._polls.run()
        return self._moves != moves

    def apply_local(self, changes: Sequence[Change]) -> None:
        """Applies what this process has just committed, before the write is acknowledged.

        The cursor goes along only where no position is left out: others may have committed in between.
        """
        if not changes:
            return
        for change in changes:
            self._cache.invalidate(change.keys, change.position)
            if change.revocation is not None:
                self._book.add((change.revocation,))
            if change.position == self._seen.position + 1:
                self._seen = Seen(self._seen.incarnation, change.position)
        self._moves += 1
        if changes[-1].position > self._seen.position:
            self._spawn(self._quiet_poll())

    async def _poll(self) -> None:
        await self._pause()
        began = self._polled_at = self._monotonic()
        now = self._clock.now()
        work = partial(poll, self._database, self._seen, now - KEEP_MS)
        try:
            polled = await self._on_poll_thread(work)
            self._apply(polled, now)
        except DaypassError as error:
            if not self._failing:
                self._failing = True
                logs.get().warning("directory.poll_failed", **error.private)
            raise
        if self._failing:
            self._failing = False
            logs.get().info("directory.poll_recovered")
        self._stale_after = began + self._max_staleness
        if now - self._spent_at >= _SPENT_EVERY_MS:
            self._spent_at = now
            self._book.remove_spent(now)

    async def _pause(self) -> None:
        wait = self._polled_at + self._tuning.poll_spacing_seconds - self._monotonic()
        if wait > 0:
            await self._tuning.sleep(wait)

    async def _on_poll_thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(
                loop.run_in_executor(self._poll_thread, work), self._tuning.poll_timeout_seconds
            )
        except TimeoutError:
            raise _unavailable("polling the change feed timed out") from None

    def _apply(self, polled: Polled, now: int) -> None:
        """Takes in one look at the feed, all at once: nothing may run between the changes and the cursor."""
        head = polled.head
        if polled.changes is None:
            self._start_over(polled, now)
            return
        if head.position <= self._seen.position and not polled.changes:
            return
        for change in polled.changes:
            self._cache.invalidate(change.keys, change.position)
        self._book.add(polled.revocations)
        self._seen = Seen(head.incarnation, max(head.position, self._seen.position))
        self._moves += 1

    def _start_over(self, polled: Polled, now: int) -> None:
        """Another incarnation, or a feed pruned beyond the cursor: what is in memory may be of any age."""
        head = polled.head
        another = head.incarnation != self._seen.incarnation
        lost = self._book.start_over(polled.revocations, head, now)
        # A local change may be ahead of this snapshot, but only in the same life are positions comparable.
        position = head.position if another else max(head.position, self._seen.position)
        self._cache.flush()
        self._seen = Seen(head.incarnation, position)
        self._moves += 1
        if self._stale_after > float("-inf"):  # not the first look
            logs.get().warning("directory.flushed", incarnation=head.incarnation, position=position, lost=len(lost))
        if another and lost:
            self._spawn(self._restore(lost, now))

    async def _restore(self, lost: Sequence[Revocation], now: int) -> None:
        """Puts revocations back that a restored database has forgotten. This process obeys them in any case."""
        try:
            await self._on_poll_thread(partial(restore_revocations, self._database, lost, now))
        except DaypassError as error:
            logs.get().error("directory.revocations_not_restored", count=len(lost), **error.private)


def _snapshot(load: Callable[[Reader], Loaded], conn: Connection) -> tuple[FeedHead, Loaded]:
    head = feed_head(conn)
    return head, load(StoreReader(conn))


def _unavailable(why: str) -> DaypassError:
    return DaypassError(
        ErrorKind.UNAVAILABLE, "The service is unavailable. Please try again shortly.", private={"directory": why}
    )
