"""Figures about a period from its newest records, up to a limit. A request counts one page of them, so that none waits for
all; the next one continues, and later ones count only what arrived since.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Final, TypeAlias

from msgspec.structs import replace as with_fields

from daypass.operations.management import allow_reading
from daypass.operations.outcome import served
from daypass.operations.record.explore import place_of
from daypass.operations.record.figures import MAX_RECORDS, Figures, Summary
from daypass.ports import Call, Env, RecordFilter, RecordView, Viewer

FRESH_MS: Final = 8_000
"""How long a summary is fresh: less than the pages wait before they ask again."""
LATE_MS: Final = 10_000
"""How late a record may be committed and still be counted at once; a later one is counted when all are read again."""
AGAIN_MS: Final = 600_000
"""After this time, the whole period is read again."""
STEP: Final = 200
"""Records that one request for a page counts."""
_BATCH: Final = 1_000
_IDLE_MS: Final = 60_000
_Key: TypeAlias = tuple[Viewer, str, int, str]
_KEPT: Final = 16  # periods, each with up to `MAX_RECORDS` counted records


class Counting:
    """The figures of a period of this length up to now, counted a page at a time. Use it from one event loop."""

    def __init__(self, viewer: Viewer, owner: str, length: int, region: str) -> None:
        self._viewer = viewer
        self._owner = owner
        self._length = length
        self._figures = Figures(region)
        self._query: RecordFilter | None = None  # of the next page; None: everything is counted
        self._whole = -AGAIN_MS  # when the whole period was read
        self._read = 0
        self._task: asyncio.Task[Summary] | None = None
        self.until = 0
        """Up to when records are counted (ms)."""

    async def advance(self, env: Env, now: int, step: int = STEP) -> Summary:
        """Counts the next page. Readers at the same time share it. A fresh summary is returned as it is."""
        fresh = self._query is None and 0 <= now - self.until < FRESH_MS
        if self._task is None or (self._task.done() and not fresh):
            self._task = asyncio.ensure_future(self._next(env, now, step))
        return await asyncio.shield(self._task)  # others may wait for it, too

    async def _next(self, env: Env, now: int, step: int) -> Summary:
        self._query = query = replace(self._query or self._begin(now), limit=step)
        page = await env.records.search(self._viewer, query)
        return await asyncio.to_thread(self._count, query, page)

    def _begin(self, now: int) -> RecordFilter:
        """The query of what may have arrived since the last one."""
        since = now - self._length
        if now - self._whole >= AGAIN_MS:
            self._whole = now
        else:
            since = max(since, self.until - LATE_MS)
        self._read, self.until = 0, now
        return RecordFilter(account=self._owner, since=since, until=now)

    def _count(self, query: RecordFilter, page: list[RecordView]) -> Summary:
        since = self.until - self._length
        self._figures.add(page)
        self._figures.keep(since)
        self._read += len(page)
        more = len(page) == query.limit and self._read < MAX_RECORDS
        self._query = replace(query, before=place_of(page[-1])) if more else None
        complete = not more and len(self._figures) < MAX_RECORDS
        return with_fields(self._figures.summary(since, self.until, complete=complete), counting=more)


class Summaries:
    """The figures that somebody looks at. Use it from one event loop."""

    def __init__(self) -> None:
        self._kept: dict[_Key, Counting] = {}

    def get(self, viewer: Viewer, owner: str, length: int, region: str, now: int) -> Counting:
        """The figures of this viewer. Those that nobody asked for in the last minute are dropped, and the oldest of the account
        that has most.
        """
        key = viewer, owner, length, region
        used = {each: kept for each, kept in self._kept.items() if now - kept.until < _IDLE_MS}
        found = used.pop(key, None) or Counting(*key)
        self._kept = used | {key: found}
        if len(self._kept) > _KEPT:
            accounts = Counter(each.account for each, *_ in self._kept)
            del self._kept[max(self._kept, key=lambda each: accounts[each[0].account])]
        return found


async def may_summarize(env: Env, call: Call, account: str = "") -> None:
    """daypass:ReadAudit, for a page that asks for the figures afterwards."""
    scope = await allow_reading(env, call, "ReadAudit", "audit", account)
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail={"summarized": 0}))


async def summarize(
    env: Env,
    call: Call,
    since: int,
    until: int,
    account: str = "",
    region: str = "",
    kept: Summaries | None = None,
    *,
    whole: bool = True,
) -> Summary:
    """daypass:ReadAudit of an account, by default the caller's, and of requests that named a region, by default any.

    Args:
        kept: of a period up to now, from which the figures may be taken.
        whole: count all pages; otherwise the next one.

    Raises DaypassError: ACCESS_DENIED, UNAVAILABLE.
    """
    scope = await allow_reading(env, call, "ReadAudit", "audit", account)
    key = scope.viewer, scope.account if scope.viewer.operator else "", until - since, region
    counting = kept.get(*key, until) if kept is not None else Counting(*key)
    found = await counting.advance(env, until, _BATCH if whole else STEP)
    while found.counting and whole:
        found = await counting.advance(env, until, _BATCH)
    detail = {"summarized": found.read}
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail=detail))
    return found
