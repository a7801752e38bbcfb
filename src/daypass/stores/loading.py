"""Loads views: on demand, and in advance for the most recently used principals and those who may revoke.

It must never cache a view that a change applied since has made stale, nor one from another epoch of the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain, count, islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, or_, select

from daypass.domain.directory import (
    AccessKey,
    Attachment,
    InlinePolicy,
    LastUse,
    ManagedPolicy,
    Membership,
    PolicyVersion,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.stores.batch import Load, LoadedBatch, load_batch
from daypass.stores.cache import ViewCache
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.log_heads import FeedHead
from daypass.stores.records import sessions
from daypass.stores.views import Loaded, Lookups

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
        threads: batches that may be read at the same time.
        on_thread: calls a function with a connection whose reads are one snapshot.
        on_standby: the same on a standby near this process; None when there is none to use.
    """

    def __init__(  # what it needs of the directory
        self,
        cache: ViewCache,
        threads: int,
        *,
        seen: Callable[[], FeedPosition],
        poll: Callable[[], Awaitable[None]],
        on_thread: Callable[[Callable[[Connection], Any]], Awaitable[Any]],
        on_standby: Callable[[Callable[[Connection], LoadedBatch]], Awaitable[LoadedBatch | None]],
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

    def _accept_batch(self, loads: dict[str, Load], batch: LoadedBatch, generation: int) -> None:
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

    def _cache_ahead(self, batch: LoadedBatch, generation: int) -> None:
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


# --- Preload


_KEEP_SECONDS = 5.0
_TURNS_OF_A_LIST = 6
_MOST_REVOKERS = 2_000
_BUILTIN = tuple(f"arn:aws:iam::aws:policy/{name}" for name in ("AdministratorAccess", "DaypassOperatorAccess"))
_SESSIONS_FOR_EACH = 4
"""Number of newest sessions read for each wanted view, because many belong to the same principal."""


async def load_recently_used(
    directory: Lookups,
    on_thread: Callable[[Callable[[Connection], list[str]]], Awaitable[list[str]]],
    limit: int,
    monotonic: Callable[[], float],
) -> None:
    """Loads one batch at a time, so that threads stay free for the misses of requests."""
    began = monotonic()
    try:
        keys = await on_thread(partial(recently_used, limit=limit))
        for start in range(0, len(keys), BATCH):
            await asyncio.gather(*(_look_up(directory, key) for key in keys[start : start + BATCH]))
    except DaypassError as error:
        logs.get().warning("directory.preload_failed", **error.private)
    else:
        seconds = round(monotonic() - began, 2)
        if keys:
            logs.get().info("directory.preloaded", views=len(keys), seconds=seconds)


async def keep_revokers_loaded(
    directory: Lookups,
    on_thread: Callable[[Callable[[Connection], list[str]]], Awaitable[list[str]]],
    seen: Callable[[], FeedPosition],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Looks the views up again and again: they are loaded if a change has removed them, and not evicted. Never returns."""
    keys: list[str] = []
    listed: FeedPosition | None = None
    for turn in count():
        with suppress(DaypassError):  # in an outage; it goes on afterwards
            if turn % _TURNS_OF_A_LIST == 0 and seen() != listed:
                listed = seen()
                keys = await on_thread(revokers)
            for start in range(0, len(keys), BATCH):
                missing = [key for key in keys[start : start + BATCH] if not directory.is_loaded(key)]
                await asyncio.gather(*(_look_up(directory, key) for key in missing))
        await sleep(_KEEP_SECONDS)


def revokers(conn: Connection) -> list[str]:
    """Cache keys of principals with a policy that may allow daypass: actions, of their access keys and accounts: at most
    `_MOST_REVOKERS` principals.

    Only an Action that is `*` or begins with `daypass:` allows such actions. A role counts by its attached policies: to read
    the inline policies of all roles would take seconds in a large installation.
    """
    inline, attached, members, keys = (_columns(of) for of in (InlinePolicy, Attachment, Membership, AccessKey))
    policies, versions = _columns(ManagedPolicy), _columns(PolicyVersion)
    arns = select(policies.arn).join(
        ENTITY_TABLES[PolicyVersion].table,
        (versions.policy_id == policies.id) & (versions.version == policies.default_version),
    )
    powerful = arns.where(_may_administer(versions.document))
    by_attachment = attached.policy_arn.in_(_BUILTIN) | attached.policy_arn.in_(powerful)
    owners = {*conn.execute(select(attached.owner_id).where(by_attachment).limit(_MOST_REVOKERS)).scalars()}
    people = or_(*(inline.owner_id.between(kind, f"{kind}~") for kind in ("AIDA", "AGPA")))
    by_inline = select(inline.owner_id).where(people, _may_administer(inline.document)).limit(_MOST_REVOKERS)
    owners.update(conn.execute(by_inline).scalars())
    groups = [owner for owner in owners if owner.startswith("AGPA")]
    owners.update(conn.execute(select(members.user_id).where(members.group_id.in_(groups))).scalars())
    principals = sorted(owner for owner in owners if owner.startswith(("AIDA", "AROA")))[:_MOST_REVOKERS]
    of_keys = select(keys.id, keys.account).where(keys.owner_id.in_(principals) | (keys.owner_id == keys.account))
    found = conn.execute(of_keys.limit(2 * _MOST_REVOKERS)).all()
    accounts = dict.fromkeys(row.account for row in found)
    return [
        *(f"account:{account}" for account in accounts),
        *(f"access_key:{row.id}" for row in found),
        *(_cache_key(principal) for principal in principals),
    ]


def _columns(kind: type[Any]) -> Any:
    return ENTITY_TABLES[kind].table.c


def _may_administer(document: ColumnElement[str]) -> ColumnElement[bool]:
    """Also matches some documents that do not: a view too many does no harm."""
    return document.contains("daypass:") | document.contains('"*"')


def _look_up(directory: Lookups, key: str) -> Awaitable[Any]:
    kind, _, name = key.partition(":")
    by_kind: dict[str, Callable[[str], Awaitable[Any]]] = {
        "role": directory.role_by_id,
        "user": directory.user,
        "account": directory.account,
        "access_key": directory.access_key,
    }
    return by_kind[kind](name)


def recently_used(conn: Connection, limit: int) -> list[str]:
    """Up to `limit` cache keys of principals, access keys and accounts, most recently used first."""
    newest = select(sessions.c.principal_id, sessions.c.root_principal_id)
    issued = conn.execute(newest.order_by(sessions.c.session_id.desc()).limit(_SESSIONS_FOR_EACH * limit))
    last_uses = ENTITY_TABLES[LastUse].table
    latest = func.max(last_uses.c.at)
    used = select(last_uses.c.subject).group_by(last_uses.c.subject).order_by(latest.desc()).limit(limit)
    subjects = [*chain.from_iterable(issued), *conn.execute(used).scalars()]
    keys = (_cache_key(subject) for subject in dict.fromkeys(subjects))
    return [key for key in keys if key][:limit]


def _cache_key(subject: str) -> str:
    """The cache key of a principal, key or account by its id; "" for any other id (a federated subject)."""
    if subject.startswith("AROA"):
        return f"role:{subject}"
    if subject.startswith("AIDA"):
        return f"user:{subject}"
    if len(subject) == 12 and subject.isascii() and subject.isdigit():
        return f"account:{subject}"
    return f"access_key:{subject}" if subject.isalnum() and not subject.startswith("ASIA") else ""
