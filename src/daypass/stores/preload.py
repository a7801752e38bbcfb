"""Loads views in advance: those of the most recently used principals at start, and always those of who may revoke.

After a restart the cache is empty while the load is unchanged. That selection is only a guess: all other views are
loaded on first use. But an emergency revocation must work in an outage, whatever its caller has used before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import chain, count
from typing import Any

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
from daypass.domain.errors import DaypassError
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.loading import BATCH
from daypass.stores.records import sessions
from daypass.stores.views import Lookups

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
                await asyncio.gather(*(_look_up(directory, key) for key in keys[start : start + BATCH]))
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
