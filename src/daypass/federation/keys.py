"""The keys of issuers: a cache that refreshes itself.

Cached keys are returned without waiting. They are fetched again before they are due, and stay usable up to a limit
while the issuer is unavailable, also after a restart. It must never fetch one source twice at the same time or more
often than the minimum interval, whatever tokens arrive, and a failing source must never delay the keys of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from daypass.audit.journal import Journal
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.federation.fetch import FetchError, FetchReason
from daypass.federation.jwks import Keys, described, read_keys
from daypass.federation.jwks_store import JwksStore, StoredKeySet
from daypass.federation.sources import FetchedKeys, FileError, Getter, IssuerKeySource, fault_of, source_of
from daypass.observability import logs
from daypass.ports.certificates import IssuerStatus, KeySet
from daypass.ports.clock import Clock
from daypass.stores.directory import Directory

_HOUR = 3_600_000
_MAX_SOURCES = 10_000


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Times in ms."""

    # Between the beginnings of two fetches of one source, however many tokens name unknown keys.
    min_interval: int = 30_000
    ordered: int = 1_000  # the same, when an operator asks for one
    stale: int = 24 * _HOUR  # how long keys are used after the last successful fetch
    # refresh, shortest, longest: when the next fetch is due: by default, and within which bounds max-age may say.
    refresh: int = _HOUR
    shortest: int = 300_000
    longest: int = 6 * _HOUR
    file_refresh: int = 60_000  # the same for a file
    idle: int = 24 * _HOUR  # a source that was not used for this long is not refreshed
    save: int = _HOUR  # minimum time between two writes of unchanged keys to the database
    background: int = 16  # sources fetched at a time to keep them fresh
    database_seconds: float = 0.5  # time limit for reading stored keys
    # polls, poll_seconds: how often, and after which pauses, to check whether another process has fetched them.
    polls: int = 10
    poll_seconds: float = 0.2


class _Cached(NamedTuple):
    keys: Keys
    fetched_at: int
    due_at: int


@dataclass(slots=True)
class _Entry:
    source: IssuerKeySource
    cached: _Cached | None = None
    used_at: int = 0
    tried_at: int | None = None
    failures: int = 0
    error: str = ""
    failed_at: int = 0
    skew: int | None = None
    saved_at: int = 0
    hindered: str = ""  # the account whose other fetches hindered the last one
    claimed: bool = False  # this fetch is for an unknown key: other callers wait for its result
    flight: asyncio.Task[None] | None = field(default=None, repr=False)


Observe = Callable[[str], None]
"""Called with the result of each fetch: "ok", a `fetch.FetchReason`, "file" or "keys"."""


class IssuerKeys:
    """Use it from one event loop. `start` begins to refresh sources; `stop` cancels work in progress.

    Args:
        getter: gets keys.
        directory, journal: where they are stored across restarts.
        clock: wall time.
        rules: times.
        observe: called with the result of each fetch.
    """

    def __init__(
        self,
        getter: Getter,
        directory: Directory,
        journal: Journal,
        clock: Clock,
        rules: KeyRules | None = None,
        observe: Observe = lambda _: None,
    ) -> None:
        self._getter = getter
        self._clock = clock
        self._rules = rules or KeyRules()
        self._store = JwksStore(directory, journal, self._rules.database_seconds)
        self._observe = observe
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- Start and stop

    def start(self, pause: float = 10.0) -> None:
        """Checks every `pause` seconds which sources are due."""
        self._spawn(self._keep_fresh(pause))

    async def stop(self) -> None:
        """Cancels fetches and writes in progress."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]  # coroutines
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- Queries

    async def keys(self, provider: OidcProvider, kid: str, now: int) -> KeySet:
        """The keys of `provider` at `now` (ms), fetched again within limits when none is named `kid` ("": any key).

        The set need not hold `kid`. Raises DaypassError(IDP_COMMUNICATION) when no keys are available.

        Waits only when no key is named `kid` or there are none at all.
        """
        source = _source(provider)
        if source.kind == "static":
            return _static(source).set
        entry = self._entry(source, now)
        cached = self._usable(entry, now)
        if cached is not None and (not kid or kid in cached.keys.kids):
            if now >= cached.due_at:
                self._begin(entry, now)
            return cached.keys.set
        for _ in range(2):
            self._begin(entry, now, kid)
            if entry.flight is not None:
                await asyncio.shield(entry.flight)
            if entry.hindered in ("", source.owner):
                break
            entry.source = source
        cached = self._usable(entry, now)
        if cached is None:
            raise _unavailable(provider, entry.error or "no keys have been fetched")
        return cached.keys.set

    async def status(self, provider: OidcProvider, now: int, *, refresh: bool = False) -> IssuerStatus:
        """The status in this process. `refresh` fetches again, at most once a second. Raises IDP_COMMUNICATION."""
        source = _source(provider)
        if source.kind == "static":
            return IssuerStatus(source.kind, "", described(_static(source).set.jwks))
        entry = self._entry(source, now)
        if refresh:
            await self._order(entry, now)
        elif entry.cached is None:
            self._begin(entry, now, "")
        if entry.flight is not None:
            await asyncio.shield(entry.flight)
        cached = entry.cached
        return IssuerStatus(
            source.kind,
            source.place,
            described(cached.keys.set.jwks) if cached is not None else (),
            fetched_at=cached.fetched_at if cached is not None else 0,
            due_at=cached.due_at if cached is not None else 0,
            usable_until=cached.fetched_at + self._rules.stale if cached is not None else 0,
            tried_at=entry.tried_at or 0,
            failed_at=entry.failed_at,
            error=entry.error,
            skew_ms=entry.skew,
        )

    async def fault(self, provider: OidcProvider) -> str:
        """The fault in the configured source of its keys, as far as it can be detected without fetching; or ""."""
        return await asyncio.to_thread(fault_of, provider, allow_private=self._getter.allow_private)

    def ages(self) -> tuple[int, int]:
        """Age in ms of the oldest keys that are in use, and how many sources failed when last tried."""
        now = self._clock.now()
        used = [entry for entry in self._entries.values() if now - entry.used_at < _HOUR]
        ages = [now - entry.cached.fetched_at for entry in used if entry.cached is not None]
        return max(ages, default=0), sum(bool(entry.error) for entry in used)

    def _entry(self, source: IssuerKeySource, now: int) -> _Entry:
        entry = self._entries.get(source.id)
        if entry is None:
            if len(self._entries) >= _MAX_SOURCES:
                self._forget()
            entry = self._entries[source.id] = _Entry(source)
        elif entry.error:
            entry.source = source  # the next attempt counts for the current caller, not for an earlier one that may have blocked it
        entry.used_at = now
        return entry

    def _forget(self) -> None:
        """Makes room: a tenth of the entries, those that were asked for longest ago."""
        idle = sorted((e for e in self._entries.values() if e.flight is None), key=lambda e: e.used_at)
        for entry in idle[: _MAX_SOURCES // 10]:
            del self._entries[entry.source.id]

    def _usable(self, entry: _Entry, now: int) -> _Cached | None:
        cached = entry.cached
        return cached if cached is not None and now - cached.fetched_at <= self._rules.stale else None

    # --- Fetching

    async def _order(self, entry: _Entry, now: int) -> None:
        """A fetch for an operator. Operators may fetch more often than token callers, and never get a result fetched
        before the request, because they look for a key that the issuer has just changed.
        """
        if entry.flight is not None:
            await asyncio.shield(entry.flight)
        before, wait = entry.tried_at, 0
        if before is not None:
            wait = min(max(before + self._rules.ordered - now, 0), self._rules.ordered)
            await asyncio.sleep(wait / 1000)
        if entry.tried_at == before and entry.flight is None:  # otherwise another fetch also began after this request
            self._fetch(entry, now + wait)

    def _begin(self, entry: _Entry, now: int, kid: str | None = None) -> None:
        """Begins a fetch unless one is in progress or the last one was too recent.

        Without any usable keys, the delay between attempts starts at one second and grows with each failure, up to the
        minimum interval. `kid`: the wanted key, if keys that another process has stored are enough when they contain it.
        """
        if entry.flight is not None:
            return
        if entry.tried_at is not None:
            empty = self._usable(entry, now) is None
            pause = (
                min(self._rules.min_interval, 1000 << min(entry.failures, 10)) if empty else self._rules.min_interval
            )
            if now - entry.tried_at < pause:
                return
        self._fetch(entry, now, kid)

    def _fetch(self, entry: _Entry, now: int, kid: str | None = None) -> None:
        if entry.hindered:  # this process has looked elsewhere, and holds the claim
            kid = None
        entry.tried_at, entry.claimed, entry.hindered = now, False, ""
        entry.flight = self._spawn(self._refresh(entry, kid))
        entry.flight.add_done_callback(lambda _: setattr(entry, "flight", None))

    async def _refresh(self, entry: _Entry, kid: str | None) -> None:
        """One fetch. It raises nothing except cancellation."""
        if kid is not None and await self._found_elsewhere(entry, kid):
            return
        source = entry.source
        try:
            fetched = await self._getter.get(source)
            self._take(entry, fetched)
        except (FetchError, FileError, ValueError, TimeoutError) as error:
            self._fail(entry, error, source.owner)
        except Exception as error:  # noqa: BLE001  # the requests that wait for the fetch must be answered
            logs.get().error("issuer.broken", url=source.place, exc_info=True)
            self._fail(entry, error, source.owner)

    def _take(self, entry: _Entry, fetched: FetchedKeys) -> None:
        now, before = self._clock.now(), entry.cached
        usable = self._usable(entry, now)  # keys too old for use do not count
        if usable is not None and fetched.keys.sequence < usable.keys.sequence:
            raise ValueError("its sequence number has gone back")
        entry.cached = _Cached(fetched.keys, now, now + self._interval(entry.source, fetched))
        entry.failures, entry.error = 0, ""
        entry.skew = fetched.date - now if fetched.date is not None else None
        self._observe("ok")
        changed = before is None or before.keys.set.hash != fetched.keys.set.hash
        keep = changed or entry.claimed or now - entry.saved_at >= self._rules.save
        if keep and entry.source.kind != "file":
            entry.saved_at = now
            self._spawn(self._store.save(entry.source, StoredKeySet(fetched.keys, now), changed=changed))

    def _interval(self, source: IssuerKeySource, fetched: FetchedKeys) -> int:
        """Slightly earlier than the issuer's max-age, within limits, so that keys are fetched before they are
        needed.
        """
        rules = self._rules
        if source.kind == "file":
            return rules.file_refresh
        announced = fetched.keys.hint or fetched.max_age
        wanted = rules.refresh if announced is None else min(max(announced * 1000, rules.shortest), rules.longest)
        return wanted - wanted // 10

    def _fail(self, entry: _Entry, error: Exception, owner: str) -> None:
        if isinstance(error, FetchError) and error.reason is FetchReason.BUSY:
            entry.tried_at, entry.hindered = None, owner  # the issuer did not fail
        else:
            entry.failures += 1
        entry.failed_at = self._clock.now()
        reason = error.reason.value if isinstance(error, FetchError) else _OTHER.get(type(error), "keys")
        entry.error = _error_text(error)
        self._observe(reason)
        logs.get().warning("issuer.fetch_failed", url=entry.source.place, reason=reason, error=entry.error)

    async def _keep_fresh(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            now = self._clock.now()
            under_way = sum(entry.flight is not None for entry in self._entries.values())
            for entry in list(self._entries.values()):
                if under_way >= self._rules.background:
                    break
                due = entry.cached is None or now >= entry.cached.due_at
                if due and now - entry.used_at < self._rules.idle:
                    self._begin(entry, now)
                    under_way += entry.flight is not None

    # --- Across processes and restarts

    async def _found_elsewhere(self, entry: _Entry, kid: str) -> bool:
        """Whether another process, or this one before its restart, has the wanted key or is fetching it now."""
        if entry.source.kind == "file":
            return False
        adopted, now = await self._adopt(entry), self._clock.now()
        cached = self._usable(entry, now)
        if cached is None:
            return False
        known = not kid or kid in cached.keys.kids
        if adopted and known and now < cached.due_at:
            entry.tried_at = None  # nothing was fetched from the issuer, so the next fetch for a new key need not wait
            return True
        entry.claimed = not known
        if known or await self._store.claim(entry.source, kid, now, self._rules.min_interval):
            return False
        for _ in range(self._rules.polls):
            await asyncio.sleep(self._rules.poll_seconds)
            if await self._adopt(entry):
                break
        return True

    async def _adopt(self, entry: _Entry) -> bool:
        """Uses the stored keys if they are newer. Returns whether it did."""
        stored = await self._store.load(entry.source)
        if stored is None or (entry.cached is not None and stored.fetched_at <= entry.cached.fetched_at):
            return False
        entry.cached = _Cached(stored.keys, stored.fetched_at, stored.fetched_at + self._rules.refresh)
        entry.saved_at = stored.fetched_at
        return True


_OTHER = {FileError: "file", TimeoutError: "timeout"}


def _error_text(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no complete answer in time"
    if isinstance(error, (FetchError, FileError)):
        return str(error)
    return f"the answer cannot be used: {error}" if isinstance(error, ValueError) else "the fetch failed"


def _source(provider: OidcProvider) -> IssuerKeySource:
    try:
        return source_of(provider)
    except ValueError as error:
        raise _unavailable(provider, str(error)) from None


@lru_cache(maxsize=256)
def _parsed(text: str, spiffe: bool) -> Keys:  # noqa: FBT001  # a part of the cache's key
    return read_keys(text.encode(), spiffe=spiffe)


def _static(source: IssuerKeySource) -> Keys:
    try:
        return _parsed(source.settings.static_jwks, bool(source.settings.spiffe_trust_domain))
    except ValueError as error:
        raise DaypassError(
            ErrorKind.IDP_COMMUNICATION,
            _PUBLIC,
            private={"account": source.account, "provider": source.provider_url, "keys": f"static_jwks: {error}"},
        ) from None


_PUBLIC = "Couldn't retrieve verification key from your identity provider"


def _unavailable(provider: OidcProvider, why: str) -> DaypassError:
    """The unauthenticated caller learns only that there are no keys; the cause is recorded."""
    private = {"account": provider.account, "provider": provider.url, "keys": why}
    return DaypassError(ErrorKind.IDP_COMMUNICATION, _PUBLIC, private=private)
