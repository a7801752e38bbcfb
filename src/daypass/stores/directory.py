"""The cached directory: views in memory that follow the change feed.

A hit costs a dictionary look-up and never waits. It must never serve a view that an applied change has made stale,
never report (`seen`) a position that it has not applied, and never serve anything if it has not polled the feed
successfully for `max_staleness_seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from daypass.crypto.seal import Sealer
from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition, Hop, SessionClaims
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.ports.directory import Reader
from daypass.ports.record import FeedState
from daypass.scheduling.buckets import Coalesced
from daypass.scheduling.threads import FairThreads
from daypass.stores.applied_feed import (
    MANY_CHANGES,
    RESTORED_AT_ONCE,
    AppliedFeed,
    forget_spent,
    poll,
    restore_revocations,
)
from daypass.stores.batch import Load, LoadedBatch
from daypass.stores.cache import Freshness, OwnSessions, Tuning, ViewCache
from daypass.stores.engine import Database, is_outage
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.feed import FeedChange, accounts_changed
from daypass.stores.loading import ViewLoader, keep_revokers_loaded, load_recently_used, unavailable
from daypass.stores.revocation_feed import KEEP_MS, RevocationFeed
from daypass.stores.standby import Standby
from daypass.stores.tx import StoreReader
from daypass.stores.view_codec import DirectoryImage
from daypass.stores.views import Lookups, Views

T = TypeVar("T")

_MAX_READS = 4_096  # waiting loads of one account
_SPENT_EVERY_MS = 3_600_000
_DAY_MS = 86_400_000

_TUNING = Tuning()


class Directory(Lookups):
    """Use it from one event loop. `start` reads the head of the feed; `stop` stops the poller and the threads.

    Args:
        database: the database whose feed is polled and whose rows are read; both must be the same server.
        clock: wall time, only for revocations.
        builtin: text of the managed policies that come with Daypass, by ARN.
        poll_seconds: the pause between two polls; 0 leaves polling to `refresh`.
        max_staleness_seconds: counted from the beginning of the last poll that succeeded.
        revocation_staleness_seconds: the same for revocations, while other processes are listed and not in contact.
        node: the id of this process in the registry.
        own: the sessions that this process honours beyond that limit; None: no session.
        standby: a streaming standby of `database` near this process.
        preload: how many of the most recently used views are loaded in the background after the start; 0 for none.
    """

    def __init__(  # noqa: PLR0913  # each is a setting of its own
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        *,
        builtin: Mapping[str, str],
        poll_seconds: float = 0.25,
        max_staleness_seconds: float = 900.0,
        revocation_staleness_seconds: float = 60.0,
        node: str = "",
        own: OwnSessions | None = None,
        entries: int = 100_000,
        preload: int = 0,
        standby: Database | None = None,
        tuning: Tuning = _TUNING,
    ) -> None:
        self._database = database
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._node = node
        self._own = own
        self._preload = min(preload, entries)
        self._tuning = tuning
        self._monotonic = tuning.monotonic
        self._views = Views(sealer, builtin, tuning.compiled)
        self.freshness = Freshness(tuning.monotonic, max_staleness_seconds, revocation_staleness_seconds)
        """The time until which cached data may be used. `freshness.note_contact` is for those who are in contact with other processes."""
        self._cache = ViewCache(entries, tuning.absent, tuning.absent_seconds, tuning.monotonic, self.freshness)
        self._applied = AppliedFeed(self._cache)
        self.feed = RevocationFeed(self._applied.revocations, self._feed_state, self._ages)
        self._complete_until = 0
        self._polled_at = float("-inf")
        self._spent_at = 0
        self._failure: Mapping[str, Any] = {}  # the private facts about it, when the last poll has failed
        self._lost: list[Revocation] = []  # that a database lacks, until they are stored there again; in force here
        self._polls = Coalesced(self._poll)
        self._tasks: set[asyncio.Task[None]] = set()
        self._read_threads = _read_threads(database.readers)
        self._poll_thread = ThreadPoolExecutor(1, thread_name_prefix="daypass-poll")
        self.standby = self._standby_of(standby)
        """A standby near this process; None for none."""
        self._loader = ViewLoader(
            self._cache,
            database.readers,
            seen=self.seen,
            poll=self._polls.run,
            on_thread=self._on_thread,
            on_standby=self._on_standby,
            spawn=self._spawn,
        )

    # --- Start and stop

    async def start(self, image: DirectoryImage | None = None) -> None:
        """Reads the feed's head and the revocations, or takes them from an image while the database is unavailable.

        Raises DaypassError(UNAVAILABLE) when it cannot.
        """
        if image is None:
            await self._polls.run()
        else:
            self._restore_image(image)
        follow = [self._quiet_poll]
        if self.standby is not None:
            self.standby.begin()
            follow.append(self.standby.poll)
        if self._poll_seconds:
            for poll_one in follow:
                self._spawn(self._follow(poll_one))
            self._spawn(keep_revokers_loaded(self, self._on_thread, self.seen, self._tuning.sleep))
        if self._preload and image is None:
            self._spawn(load_recently_used(self, self._on_thread, self._preload, self._monotonic))

    async def stop(self) -> None:
        """Stops the poller, loads in flight and the threads. The database stays open."""
        self.feed.close()
        tasks = [*self._tasks]
        self._loader.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._polls.stop()
        if self.standby is not None:
            await self.standby.stop()
        await asyncio.to_thread(self._read_threads.close)  # a connection still in use would never be closed
        await asyncio.to_thread(self._poll_thread.shutdown, cancel_futures=True)

    def _standby_of(self, database: Database | None) -> Standby | None:
        if database is None:
            return None
        state = (self._applied, self._cache, self.freshness)
        return Standby(database, self._clock, *state, advanced=self._advanced, monotonic=self._monotonic)

    def _restore_image(self, image: DirectoryImage) -> None:
        now = self._clock.now()
        self._applied.restore(image, now)
        self._complete_until = image.as_of
        self.freshness.polled(self._monotonic() - (now - image.as_of) / 1000, image.others - {self._node})

    def image(self, views: int) -> DirectoryImage:
        """The state as of the last successful poll, with at most so many views."""
        return DirectoryImage(
            self.seen(),
            self._complete_until,
            self._cache.changes,
            self._cache.newest(views),
            self._applied.revocations.known(),
            self.freshness.others,
        )

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, poll_one: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._tuning.sleep(self._poll_seconds)
            try:
                await poll_one()
            except Exception:  # noqa: BLE001 - the poller must live; what it cannot read makes the directory stale
                logs.get().error("directory.poll_broken", exc_info=True)

    async def _quiet_poll(self) -> None:
        with contextlib.suppress(DaypassError):  # already logged; only staleness matters
            await self._polls.run()

    # --- State, without I/O

    @property
    def entries(self) -> int:
        """Number of cached views."""
        return len(self._cache)

    @property
    def revocations(self) -> int:
        """Number of revocations that may still match a session."""
        return len(self._applied.revocations)

    def staleness_seconds(self) -> float:
        """Time since the beginning of the last successful poll."""
        return self.freshness.age

    @property
    def stale(self) -> bool:
        """Whether the last successful poll is so long ago that nothing may be served."""
        return self._monotonic() > self.freshness.directory_until

    @property
    def revocations_unknown(self) -> bool:
        """Whether the last successful poll is so long ago that other processes may have made revocations."""
        return self._monotonic() > self.freshness.revocations_until

    def apply_peer(self, revocations: Sequence[Revocation]) -> None:
        """Applies revocations of another process, which may have made them while the database was unavailable."""
        self._applied.apply_peer(revocations, self._clock.now())

    def on_ring_keys(self, call: Callable[[], None]) -> None:
        """Sets what is called when another process has changed the ring keys."""
        self._applied.on_ring_keys = call

    def seen(self) -> FeedPosition:
        """The epoch and position that this process has applied. Read this and the issued-at time before reading anything that
        a session depends on.
        """
        return self._applied.position

    def _feed_state(self) -> FeedState:
        """Without the database, the revocations are complete as far as all listed processes have been in contact."""
        age = self.freshness.age_without_database()
        until = 0 if age is None else self._clock.now() - round(age * 1000)
        return FeedState(self._applied.position, max(self._complete_until, until))

    def _ages(self) -> dict[str, int]:
        """See `RevocationFeed.ages`."""
        ages = {**self.freshness.ages(), self._node: 0.0}
        return {node: max(0, round(age * 1000)) for node, age in ages.items()}

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        """The revocation that ended this session, if any. Raises DaypassError(UNAVAILABLE) when stale."""
        if self.revocations_unknown:
            self._refuse_unless_own(claims.session_id)
        return self._applied.revocations.index.revoked(claims)

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """A blocking revocation in force that matches one of these hops. It prevents new sessions. Raises
        DaypassError(UNAVAILABLE) when stale.
        """
        if self.revocations_unknown:
            self._refuse_unless_own(hops[-2].session_id if len(hops) > 1 else "")
        return self.known_block(hops, source_identity, now)

    def known_block(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """As `blocked`, but of the blocks that this process knows: for what gives no session."""
        return self._applied.revocations.index.blocked(hops, source_identity, now)

    async def read(self, query: Callable[[Reader], T], *, account: str, urgent: bool = False) -> T:
        """Runs `query` in one snapshot on a store thread, straight from the database.

        Accounts take turns: `account` is the caller's, "" for the server itself. `urgent` reads (of revocations,
        blocks, changes of keys) come first and have a thread in reserve.

        Raises DaypassError: UNAVAILABLE, THROTTLED.
        """

        def work(conn: Connection) -> T:
            return query(StoreReader(conn))

        try:
            return await self._on_thread(work, account, urgent=urgent)
        except DaypassError as error:
            standby, seen = self.standby, self.seen()
            if standby is None or not standby.usable or self.stale or not is_outage(error):
                raise
        return await self._read_threads.run(account, lambda _: standby.read_after(work, seen), urgent=urgent)

    async def changed_accounts(self, since: FeedPosition, kinds: Collection[type[Any]] = ()) -> frozenset[str] | None:
        """The accounts of which an entity of these kinds (none: any kind) has changed after `since`. None: nobody knows,
        because the feed does not go back so far, or too much has changed. Raises DaypassError(UNAVAILABLE).
        """
        tables = [ENTITY_TABLES[kind].table.name for kind in kinds or ENTITY_TABLES]
        return await self._on_thread(lambda conn: accounts_changed(conn, since, tables, MANY_CHANGES), urgent=False)

    def _refuse_unless_own(self, session_id: str) -> None:
        """Raises DaypassError(UNAVAILABLE) unless this process issued the session and may still honour it."""
        if self.stale:
            raise self.freshness.stale()
        if self._own is None or session_id not in self._own:
            public = (
                "Whether these credentials have been revoked is not known, because the database has been unavailable for "
                "longer than directory.revocation_staleness_seconds."
            )
            raise DaypassError(ErrorKind.UNAVAILABLE, public, private={"directory": f"{self.freshness.age:.0f} s old"})

    # --- Loading

    async def _miss(self, key: str, load: Load) -> Any:
        return await self._loader.load(key, load)

    async def _on_thread(self, work: Callable[[Connection], T], account: str = "", *, urgent: bool = True) -> T:
        """Loads of views are urgent, because requests of other accounts wait for them."""
        return await self._read_threads.run(account, lambda _: self._database.read(work), urgent=urgent)

    async def _on_standby(self, work: Callable[[Connection], LoadedBatch]) -> LoadedBatch | None:
        standby = self.standby
        if standby is None or not standby.usable:
            return None
        try:
            return await self._read_threads.run("", lambda _: standby.read(work), urgent=True)
        except DaypassError as error:
            logs.get().debug("standby.not_read", **error.private)
            return None  # the primary is asked

    # --- Following the feed

    async def refresh(self) -> bool:
        """Runs one coalesced poll. Returns whether anything has changed. Call it before refusing from the cache.

        Raises DaypassError(UNAVAILABLE) when the database cannot be polled; at once when the last poll has failed,
        because the next one follows by itself.
        """
        if self._failure and self._poll_seconds:
            raise unavailable("the last poll has failed", **self._failure)
        version = self._applied.version
        await self._polls.run()
        return self._applied.version != version

    def access_changed(self, account: str) -> str:
        """See `AppliedFeed.access_changed`."""
        return self._applied.access_changed(account)

    def apply_local(self, changes: Sequence[FeedChange]) -> None:
        """Applies changes that this process has just committed, before the write is acknowledged."""
        if self._applied.apply_local(changes):
            self._spawn(self._quiet_poll())

    async def _poll(self) -> None:
        await self._pause()
        began = self._polled_at = self._monotonic()
        now = self._clock.now()
        timed = self.standby is not None
        work = partial(poll, self._database, self._applied.position, now - KEEP_MS, timed=timed)
        try:
            polled = await self._on_poll_thread(work)
            lost = self._applied.apply(polled, now)
        except DaypassError as error:
            if not self._failure:
                logs.get().warning("directory.poll_failed", **error.private)
            self._failure = error.private or {"database": error.public}
            raise
        self._lost = [*lost] or self._lost  # those of an earlier failover that are still absent are among them
        if self._lost:
            self._spawn(self._restore(now))
        if self._failure:
            self._failure = {}
            logs.get().info("directory.poll_recovered")
        self._advanced(began, polled.nodes)
        if self.standby is not None:
            self.standby.note_primary_clock(began, polled.clock)
        if now - self._spent_at >= _SPENT_EVERY_MS:
            self._spent_at = now
            self._applied.revocations.remove_spent(now)
            self._spawn(self._forget_spent(now))

    def _advanced(self, began: float, nodes: frozenset[str]) -> None:
        """Everything that was acknowledged before this time (monotonic) is known here."""
        self.freshness.polled(began, nodes - {self._node})
        until = self._clock.now() - round((self._monotonic() - began) * 1000)
        self._complete_until = max(self._complete_until, until)

    async def _forget_spent(self, now: int) -> None:
        """Prunes spent revocations in the database, a day after every process has removed them from memory."""
        try:
            count = await self._on_poll_thread(partial(forget_spent, self._database, now - KEEP_MS - _DAY_MS))
        except DaypassError as error:
            logs.get().warning("directory.revocations_not_pruned", **error.private)
        else:
            if count:
                logs.get().info("directory.revocations_pruned", count=count)

    async def _pause(self) -> None:
        wait = self._polled_at + self._tuning.poll_spacing_seconds - self._monotonic()
        if wait > 0:
            await self._tuning.sleep(wait)

    async def _on_poll_thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._tuning.poll_timeout_seconds):
                return await loop.run_in_executor(self._poll_thread, work)
        except TimeoutError:
            raise unavailable("polling the change feed timed out") from None

    async def _restore(self, now: int) -> None:
        """Restores revocations that a database lacks, some after each poll: the poll uses the same thread (attack A359)."""
        lost, self._lost = self._lost[:RESTORED_AT_ONCE], self._lost[RESTORED_AT_ONCE:]
        try:
            await self._on_poll_thread(partial(restore_revocations, self._database, lost, now))
        except DaypassError as error:
            self._lost += lost
            logs.get().error("directory.revocations_not_restored", count=len(lost), **error.private)


def _read_threads(readers: int) -> FairThreads:
    """A thread for each connection; one is reserved for urgent reads if there are more."""
    return FairThreads(readers, "daypass-read", reserved=1 if readers > 1 else 0, most_of_account=_MAX_READS)
