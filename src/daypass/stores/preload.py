"""Loads views in advance when a process starts: those of the most recently used principals.

After a restart the cache is empty while the load is unchanged. The selection is only a guess: all other views are
loaded on first use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain
from typing import Any

from sqlalchemy import Connection, func, select

from daypass.domain.directory import LastUse
from daypass.domain.errors import DaypassError
from daypass.observability import logs
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.loading import BATCH
from daypass.stores.lookups import Lookups
from daypass.stores.records import sessions

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
