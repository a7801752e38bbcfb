"""Reads the record: searches it, follows it, and exports logs for verification elsewhere.

The record's reader (`audit.read`) decides what an account may see. This module decides whose record a caller may
request. Reading is itself recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from msgspec import structs

from daypass.api.record import LogOut
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.operations.authorize import authorize
from daypass.operations.management import Scope, allow_reading
from daypass.operations.outcome import served
from daypass.operations.record.explore import STEP, RecordPage, fitting, logged, pages_of, place_of
from daypass.ports import Call, ChainCheck, Env, RecordFilter, RecordView, Viewer

MAX_WAIT = 15.0  # seconds; shorter than a stopping server waits for its requests
PROVED = 50
"""At most so many records after a record are in its proof."""
_LOOK_EVERY = 0.5
_LOOKED_BACK = 5_000  # records: half a day of a reader that follows an idle server
_READ = "ReadAudit"


class Tail(NamedTuple):
    """Records since the last call, and the cursor: the last sequence number of each log."""

    records: list[RecordView]
    cursor: Mapping[str, int]


class RecordProof(NamedTuple):
    """One record, and consecutive records of its log: from the one before it, up to PROVED after it.

    `check`: of `records`, computed. `complete`: the last of them is the end of the log, when it was read.
    """

    record: RecordView
    records: tuple[RecordView, ...]
    check: ChainCheck
    complete: bool


async def search(env: Env, call: Call, query: RecordFilter) -> RecordPage:
    """daypass:ReadAudit: records, newest first. `query.account`: "" is the caller's, "*" every account.

    A page of large events may hold fewer than `query.limit` and still have a next one.
    """
    scope = await allow_reading(env, call, _READ, "audit", query.account)
    account = scope.account if scope.viewer.operator else ""  # the viewer's own: what it owns, and what it did
    steps = pages_of(env, scope.viewer, replace(query, account=account, limit=min(query.limit, STEP)))
    shown, more = await fitting(steps, query.limit)
    await _record(env, call, scope, {"operation": query.operation, "request_id": query.request_id})
    return RecordPage(shown, place_of(shown[-1]) if more else None)


async def get_record(env: Env, call: Call, account: str, log: str, seq: int) -> RecordView:
    """daypass:ReadAudit: one record by its position. NOT_FOUND also for one that the caller may not see."""
    scope = await allow_reading(env, call, _READ, "audit", account)
    views = await env.records.records(scope.viewer, log, seq - 1, 1)
    if not views or views[0].seq != seq or views[0].body is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"Log {log} has no record {seq}.")
    await _record(env, call, scope, {"log": log, "seq": seq})
    return views[0]


async def tail(
    env: Env, call: Call, account: str, cursor: Mapping[str, int] | None, *, limit: int = 100, wait: float = 0.0
) -> Tail:
    """daypass:ReadAudit: records after `cursor`, waiting up to `wait` seconds for new ones.

    Without a cursor: the newest `limit` records. Reading the record creates records too. They are skipped here;
    otherwise a reader that follows the record would follow itself.
    """
    scope = await allow_reading(env, call, _READ, "audit", account)
    if cursor is None:
        page = await _newest(env, scope, limit)
    else:
        page = await _since(env, scope, cursor, limit)
        waited = 0.0
        while not page.records and waited < min(wait, MAX_WAIT):
            await asyncio.sleep(_LOOK_EVERY)
            waited += _LOOK_EVERY
            page = await _since(env, scope, page.cursor, limit)
    await _record(env, call, scope, {"followed": len(page.records)})
    return page


async def list_logs(env: Env, call: Call, account: str) -> list[LogOut]:
    """daypass:VerifyAudit: every log of the installation with its head, oldest first. The names of its machines are for
    operators; the heads are for all, because nobody can verify a record without its chain (attack A394).
    """
    scope = await allow_reading(env, call, "VerifyAudit", "audit", account)
    logs = await env.records.logs(scope.viewer)
    await _record(env, call, scope, {"logs": len(logs)})
    return logs if scope.viewer.operator else [structs.replace(log, node="") for log in logs]


async def export_log(env: Env, call: Call, account: str, log: str, after: int, limit: int) -> Sequence[RecordView]:
    """daypass:VerifyAudit: a log's records after `after`, without gaps; only the hashes of other accounts' records.

    There may be more, also when there are fewer than `limit`; there are none if the page is empty.
    """
    scope = await allow_reading(env, call, "VerifyAudit", "audit", account)
    views, _ = await fitting(logged(env, scope.viewer, log, after, min(limit, STEP)), limit)
    await _record(env, call, scope, {"log": log, "after": after, "records": len(views)})
    return views


async def prove_record(env: Env, call: Call, account: str, log: str, seq: int) -> RecordProof:
    """daypass:VerifyAudit: one record with the records around it, and what their hashes show. Raises NOT_FOUND."""
    scope = await allow_reading(env, call, "VerifyAudit", "audit", account)
    first = max(seq - 1, 0)
    views = await env.records.records(scope.viewer, log, first - 1, PROVED + 2)
    record = next((view for view in views if view.seq == seq), None)
    if record is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"Log {log} has no record {seq}.")
    proof = RecordProof(record, tuple(views), env.records.check(views), complete=len(views) < PROVED + 2)
    await _record(env, call, scope, {"log": log, "seq": seq, "records": len(views)})
    return proof


async def _newest(env: Env, scope: Scope, limit: int) -> Tail:
    """Reads the heads first: a record written meanwhile is then read twice rather than missed."""
    cursor = {log.log: log.seq for log in await env.records.logs(scope.viewer)}
    account = scope.account if scope.viewer.operator else ""
    steps = pages_of(env, scope.viewer, RecordFilter(account=account, limit=STEP))
    views, _ = await fitting(_without_readings(steps), limit)
    return Tail(views[::-1], cursor)


async def _without_readings(pages: AsyncIterator[list[RecordView]]) -> AsyncIterator[list[RecordView]]:
    """The pages, up to `_LOOKED_BACK` records, without reads of the record: a reader that follows it writes many."""
    looked = 0
    async for page in pages:
        yield [record for record in page if not _is_reading(record)]
        looked += len(page)
        if looked >= _LOOKED_BACK:
            return


async def _since(env: Env, scope: Scope, cursor: Mapping[str, int], limit: int) -> Tail:
    views, _ = await fitting(_following(env, scope, cursor, min(limit, STEP)), limit)
    shown = [r for r in views if _concerns(r, scope) and not _is_reading(r)]
    return Tail(shown, _reached(cursor, views))


async def _following(env: Env, scope: Scope, cursor: Mapping[str, int], step: int) -> AsyncIterator[list[RecordView]]:
    """The records of all logs after their positions in `cursor`, in pages of `step`."""
    while True:
        page = await env.records.follow(scope.viewer, cursor, step)
        yield page
        if len(page) < step:
            return
        cursor = _reached(cursor, page)


def _reached(cursor: Mapping[str, int], records: Sequence[RecordView]) -> dict[str, int]:
    return {**cursor, **{record.log: record.seq for record in records}}


def _concerns(record: RecordView, scope: Scope) -> bool:
    """Whether the viewer may see it, and it belongs to the requested account."""
    body = record.body
    if body is None:
        return False
    if not scope.viewer.operator or not scope.account:
        return True
    actor = body.get("actor")
    return scope.account in (body.get("account"), actor.get("account") if isinstance(actor, Mapping) else None)


def _is_reading(record: RecordView) -> bool:
    body = record.body or {}
    return body.get("operation") == f"daypass:{_READ}" and body.get("type") == EventType.REQUEST_ALLOWED.value


async def _record(env: Env, call: Call, scope: Scope, detail: Mapping[str, object]) -> None:
    shown = {name: value for name, value in detail.items() if value != ""}
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail=shown))


# --- Explain request


_MAX_RECORDS = 16  # records read for one request


async def explain_request(env: Env, call: Call, request_id: str) -> Mapping[str, Any]:
    """sts:DecodeAuthorizationMessage: the recorded explanation of a denied request.

    Raises DaypassError: ACCESS_DENIED; NOT_FOUND, also for a request that another account decided.
    """
    decision = await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
    account = call.caller.account
    query = RecordFilter(request_id=request_id, limit=_MAX_RECORDS)
    for record in await env.records.search(Viewer(account), query):
        body = record.body or {}
        explanation = body.get("decision")
        if body.get("account") == account and body.get("error") and isinstance(explanation, Mapping):
            await env.journal.commit(served(call, decision=decision, detail={"explained": request_id}))
            return explanation
    raise DaypassError(ErrorKind.NOT_FOUND, f"The record has no denied request with id {request_id}.")
