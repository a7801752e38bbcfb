"""The record explorer: searching, one record with its chain of custody, and what proves that it is unaltered."""

from __future__ import annotations

import base64
import json
from asyncio import gather
from typing import Final

from daypass.operations.record import explore, read
from daypass.operations.record.explore import EventFilter
from daypass.operations.record.read import RecordProof
from daypass.operations.sessions import list_sessions
from daypass.ports import LogView, RecordFilter, SessionView
from daypass.wire.console.context import ConsoleContext, Part, address
from daypass.wire.console.sessions import Branch, tree_of
from daypass.wire.content import cursor, record_cursor
from daypass.wire.http import Response

_ROWS: Final = 50
_READ: Final = "daypass:ReadAudit"
_FIELDS: Final = ("operation", "type", "request_id", "session_id", "access_key_id", "error")
_EXACT: Final = ("type", "operation", "request_id", "session_id", "trace")
"""With one of these, the page shows reads too. Otherwise only what changed something or was refused."""
_TEXTS: Final = ("person", "role", "chain", "source", "decision", "trace", "cause", "region")


async def search(ctx: ConsoleContext) -> Response:
    """GET /console/records."""
    given = {name: ctx.value(name, 256) for name in (*_FIELDS, *_TEXTS, "account", "since", "until")}
    reads = ctx.value("reads", 8) == "yes" or any(given[name] for name in _EXACT)
    given["error"] = given["error"].replace(" ", "_")  # pages show kinds of errors in words
    query = RecordFilter(
        **{name: given[name] for name in _FIELDS},
        account=given["account"],
        since=ctx.time("since"),
        until=ctx.time("until"),
        changes=not reads,
        before=record_cursor(ctx.value("after", 128)),
        limit=_ROWS,
    )
    wanted = EventFilter(**{name: given[name] for name in _TEXTS})
    record_page = await ctx.perform(_READ, explore.explore, query, wanted)
    return ctx.page(
        "records",
        "Record",
        rows=record_page.records,
        following=cursor(*record_page.before) if record_page.before is not None else "",
        given=given,
        reads=reads,
        here=address("/console/records", **given, reads="yes" if ctx.value("reads", 8) == "yes" else ""),
        first=bool(ctx.value("after")),
    )


async def one(ctx: ConsoleContext) -> Response:
    """GET /console/record?log=…&seq=…"""
    log, seq, account = ctx.value("log", 64), ctx.number("seq"), ctx.value("account", 12)
    record = await ctx.perform(_READ, read.get_record, account, log, seq)
    body = record.body or {}
    proof, logs, session = await gather(
        ctx.attempt("daypass:VerifyAudit", read.prove_record, account, log, seq),
        ctx.attempt("daypass:VerifyAudit", read.list_logs, account),
        _session(ctx, str(body.get("session_id") or (body.get("actor") or {}).get("session_id") or "")),
    )
    return ctx.page(
        "record",
        f"Record {seq}",
        record=record,
        body=body,
        proof=proof,
        hashes=_hashes(proof.value) if proof.value is not None else "",
        head=_head(logs, log),
        session=session,
        tree=_tree(session),
    )


def _hashes(proof: RecordProof) -> str:
    """Input of proof.js: the bytes of the record itself, and only the leaf of all others (JSON)."""
    own, log = proof.record, proof.record.log
    records = [{"seq": view.seq, "leaf": view.leaf, "chain": view.chain} for view in proof.records]
    data = base64.b64encode(own.bytes).decode("ascii") if own.bytes is not None else ""
    return json.dumps({"log": log, "seq": own.seq, "bytes": data, "records": records})


def _head(logs: Part[list[LogView]], log: str) -> Part[LogView]:
    found = [view for view in logs.value or () if view.log == log]
    return Part(found[0] if found else None, logs.problem)


async def _session(ctx: ConsoleContext, session_id: str) -> Part[SessionView]:
    if not session_id:
        return Part()
    return await ctx.attempt("daypass:GetSession", list_sessions.get_session, session_id)


def _tree(session: Part[SessionView]) -> Branch | None:
    return tree_of(session.value, ()) if session.value is not None else None
