"""Searches the record by what its events say: persons, roles, sources and decisions, besides the indexed columns.

These have no columns, so each page looks through a limited number of records, newest first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import Struct

from daypass.observability.totals import attempt_in
from daypass.operations import management
from daypass.operations.management import MAX_BYTES, allow_reading
from daypass.operations.outcome import served
from daypass.ports import Call, Env, RecordFilter, RecordView, Viewer

MAX_LOOKED_AT: Final = 2_000
"""Maximum number of records that one page looks through."""


class EventFilter(Struct, frozen=True):
    """A filter of events. Empty fields match everything."""

    # A part of the actor's ARN, principal id or source identity, of the original principal's id, or of the ARN of whom
    # a revocation or offboarding is about.
    person: str = ""
    role: str = ""  # a part of an ARN anywhere in the event's detail or decision
    chain: str = ""  # a session id: the event issued it, acted on it, or its actor was that session
    source: str = ""  # the beginning of the source address
    decision: str = ""  # "allowed" or "refused"
    trace: str = ""  # the id of a trace (W3C Trace Context)
    # cause: the cause class of a refusal, as metrics name it. region: the one that the request named.
    cause: str = ""
    region: str = ""

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Whether an event says all of it."""
        actor, source = _mapping(body.get("actor")), _mapping(body.get("source"))
        refused, detail = bool(body.get("error")), _mapping(body.get("detail"))
        return (
            (not self.person or _contains((actor, detail.get("arn"), detail.get("user")), self.person))
            and (not self.role or _contains((detail, body.get("decision")), self.role))
            and (not self.chain or self.chain in (body.get("session_id"), actor.get("session_id")))
            and (not self.source or str(source.get("ip", "")).startswith(self.source))
            and (self.decision not in ("allowed", "refused") or refused is (self.decision == "refused"))
            and (not self.trace or body.get("trace_id") == self.trace)
            and (not self.region or source.get("region") == self.region)
            and (not self.cause or (refused and attempt_in(body).cause == self.cause))
        )


async def explore(
    env: Env, call: Call, query: RecordFilter, wanted: EventFilter, most: int = MAX_LOOKED_AT
) -> RecordPage:
    """daypass:ReadAudit. It looks through `most` records. A page may hold fewer than `query.limit` and still have a next one.

    Raises DaypassError: ACCESS_DENIED, UNAVAILABLE.
    """
    scope = await allow_reading(env, call, "ReadAudit", "audit", query.account)
    account = scope.account if scope.viewer.operator else ""
    records: list[RecordView] = []
    before, looked_at, size = query.before, 0, 0
    step = STEP if wanted != EventFilter() else min(query.limit, STEP)
    async for page in pages_of(env, scope.viewer, replace(query, account=account, limit=step)):
        for record in page:
            before = place_of(record)
            looked_at += 1
            if record.body is not None and wanted.matches(record.body):
                records.append(record)
                size += size_of(record)
                if _full(records, size, query.limit):
                    break
        if _full(records, size, query.limit) or looked_at >= most:
            break
    else:
        before = None
    detail = {"explored": looked_at, "found": len(records), "request_id": query.request_id[:64]}
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail=detail))
    return RecordPage(records, before)


def _full(records: Sequence[RecordView], size: int, limit: int) -> bool:
    return len(records) == limit or size >= MAX_BYTES


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _contains(value: Any, text: str) -> bool:
    """Whether a text is part of any text in a value, without regard to case."""
    wanted = text.casefold()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is str:
            if wanted in each.casefold():
                return True
        elif type(each) is dict:
            waiting.extend(each.values())
        elif type(each) in (list, tuple):
            waiting.extend(each)
    return False


# --- Pages of the record, for operations that look through many records, and for answers


STEP: Final = 100
"""Records that are read at once for an answer, in a turn of the account: few more than those that it shows (attack A312)."""


class RecordPage(Struct, frozen=True):
    """Records of one answer. `before`: where the next page begins; None at the end of the record."""

    records: Sequence[RecordView]
    before: tuple[int, str, int] | None


async def pages_of(env: Env, viewer: Viewer, query: RecordFilter) -> AsyncIterator[list[RecordView]]:
    """The records that match, newest first, in pages of `query.limit`. The last page has fewer. Raises
    DaypassError(UNAVAILABLE).
    """
    while True:
        page = await env.records.search(viewer, query)
        yield page
        if len(page) < query.limit:
            return
        query = replace(query, before=place_of(page[-1]))


async def logged(env: Env, viewer: Viewer, log: str, after: int, step: int) -> AsyncIterator[list[RecordView]]:
    """The records of a log after `after`, in pages of `step`. The last page has fewer. Raises DaypassError(UNAVAILABLE)."""
    while True:
        page = await env.records.records(viewer, log, after, step)
        yield page
        if len(page) < step:
            return
        after = page[-1].seq


async def fitting(pages: AsyncIterator[Sequence[RecordView]], limit: int) -> tuple[list[RecordView], bool]:
    """The first records, as many as fit into one answer, up to `limit`; at least one, so that readers advance. And
    whether there may be more. Records behind the last page that is needed are not read.
    """
    views: list[RecordView] = []
    total = 0
    async for page in pages:
        for record in page:
            total += size_of(record)
            if views and (total > management.MAX_BYTES or len(views) >= limit):
                return views, True
            views.append(record)
        if len(views) >= limit:
            return views, True
    return views, False


def place_of(record: RecordView) -> tuple[int, str, int]:
    """The cursor after a page whose last record this is: `RecordFilter.before` of the next one."""
    return record.at, record.log, record.seq


def size_of(record: RecordView) -> int:
    """Bytes of what the viewer may see of the event; only of that, because sizes of other accounts' events are not
    the viewer's to know.
    """
    if record.bytes is not None:
        return len(record.bytes)
    return len(msgspec.json.encode(record.body)) if record.body is not None else 0
