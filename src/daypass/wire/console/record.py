"""The record explorer: searching, one record with its chain of custody, and what proves that it is unaltered;
and the timeline of a person, role or session.
"""

from __future__ import annotations

import base64
import json
from asyncio import gather
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from daypass.api.record import LogOut
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import Hop
from daypass.operations.record import explore, read
from daypass.operations.record.explore import EventFilter, RecordPage
from daypass.operations.record.read import RecordProof
from daypass.operations.sessions import list_sessions
from daypass.ports import RecordFilter, SessionFilter, SessionView
from daypass.wire.console.context import ConsoleContext, PagePart, address
from daypass.wire.console.sessions import Branch, tree_of
from daypass.wire.content import cursor, record_cursor
from daypass.wire.http import Response
from daypass.wire.web.render import iso

_ROWS: Final = 50
_LOOKED_AT: Final = 200  # records for one answer: some milliseconds
_STEPS: Final = 9  # further answers that a list asks for by itself
_READ: Final = "daypass:ReadAudit"
_FIELDS: Final = ("operation", "type", "request_id", "session_id", "access_key_id", "error")
_EXACT: Final = ("type", "operation", "request_id", "session_id", "trace")
"""With one of these, the page shows reads too. Otherwise only what changed something or was refused."""
_TEXTS: Final = ("person", "role", "chain", "source", "decision", "trace", "cause", "region")


async def search(ctx: ConsoleContext) -> Response:
    """GET /console/records."""
    given = {name: ctx.value(name, 256) for name in (*_FIELDS, *_TEXTS, "account", "since", "until")}
    part = _part(ctx, _ROWS)
    reads = ctx.value("reads", 8) == "yes" or any(given[name] for name in _EXACT)
    given["error"] = given["error"].replace(" ", "_")  # pages show kinds of errors in words
    query = RecordFilter(
        **{name: given[name] for name in _FIELDS},
        account=given["account"],
        since=ctx.time("since"),
        until=ctx.time("until"),
        changes=not reads,
        before=record_cursor(ctx.value("after", 128)),
        limit=part.limit,
    )
    wanted = EventFilter(**{name: given[name] for name in _TEXTS})
    record_page = await ctx.perform(_READ, explore.explore, query, wanted, _LOOKED_AT)
    here = address("/console/records", **given, reads="yes" if ctx.value("reads", 8) == "yes" else "")
    return ctx.page(
        "records",
        "Record",
        rows=record_page.records,
        given=given,
        reads=reads,
        first=bool(ctx.value("after")) and not part.step,
        **part.values(here, record_page),
    )


class _Part(NamedTuple):
    """A part of a list of records. The page loads the next ones by itself until the list is full or enough was looked at.

    `step`: its number. `shown`: rows of the parts before. `limit`: rows that it may have.
    """

    step: int
    shown: int
    limit: int

    def values(self, here: str, found: RecordPage | None) -> dict[str, Any]:
        """The values of the template. `here`: the address of the list."""
        following = cursor(*found.before) if found is not None and found.before is not None else ""
        count = len(found.records) if found is not None else 0
        more = following and count < self.limit and self.step < _STEPS
        rest = {"after": following, "step": self.step + 1, "shown": self.shown + count}
        older = f"{here}{'&' if '?' in here else '?'}{urlencode(rest)}" if more else ""
        nothing = not (self.shown or count or more)
        return {"here": here, "following": following, "older_part": older, "nothing": nothing, "further": self.step > 0}


def _part(ctx: ConsoleContext, rows: int) -> _Part:
    shown = min(ctx.number("shown"), rows - 1)
    return _Part(ctx.number("step"), shown, rows - shown)


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
        facts=list(_facts(body)),
        proof=proof,
        hashes=_hashes(proof.value) if proof.value is not None else "",
        head=_head(logs, log),
        session=session,
        tree=_tree(session),
    )


def _facts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The members of an event, each with its path: "actor access key id"."""
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from _facts(member, f"{name} {key}".strip())
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value, 1):
            yield from _facts(each, f"{name} {number}")
    elif name == "session hops" and isinstance(value, list):
        for number, each in enumerate(value, 1):
            yield from _facts(dict(zip(Hop.__struct_fields__, each, strict=False)), f"{name} {number}")
    elif isinstance(value, int) and name.endswith("at"):
        yield name.replace("_", " ").capitalize(), iso(value)
    elif value not in ("", None, [], {}):
        yield name.replace("_", " ").capitalize(), ", ".join(map(str, value)) if isinstance(value, list) else value


def _hashes(proof: RecordProof) -> str:
    """Input of proof.js: the bytes of the record itself, and only the leaf of all others (JSON)."""
    own, log = proof.record, proof.record.log
    records = [{"seq": view.seq, "leaf": view.leaf, "chain": view.chain} for view in proof.records]
    data = base64.b64encode(own.bytes).decode("ascii") if own.bytes is not None else ""
    return json.dumps({"log": log, "seq": own.seq, "bytes": data, "records": records})


def _head(logs: PagePart[list[LogOut]], log: str) -> PagePart[LogOut]:
    found = [view for view in logs.value or () if view.log == log]
    return PagePart(found[0] if found else None, logs.problem)


async def _session(ctx: ConsoleContext, session_id: str) -> PagePart[SessionView]:
    if not session_id:
        return PagePart()
    return await ctx.attempt("daypass:GetSession", list_sessions.get_session, session_id)


def _tree(session: PagePart[SessionView]) -> Branch | None:
    return tree_of(session.value, ()) if session.value is not None else None


# --- The timeline of a person, role or session: a heat map of use by hour, and the events as a line


_SESSIONS: Final = 20_000
_EVENTS: Final = 30
_WEEKS_MS: Final = 28 * 86_400_000
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SUBJECTS: Final = ("person", "role", "session")


class Heat(NamedTuple):
    """Sessions by weekday and hour (UTC). `level`: from 0 to 4, of the busiest hour. `total`: at most `_SESSIONS`."""

    days: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    total: int
    busiest: str


async def page(ctx: ConsoleContext) -> Response:
    """GET /console/timeline: one of `person`, `role` (a name or id) and `session` (an id). `part`: heat, which the page loads
    after the events.
    """
    given = {subject: ctx.value(subject, 256) for subject in _SUBJECTS}
    named = [(subject, value) for subject, value in given.items() if value]
    if len(named) != 1:
        raise DaypassError(ErrorKind.VALIDATION, "A timeline is of one person, role or session.")
    subject, name = named[0]
    shown: dict[str, Any] = {"subject": subject, "name": name}
    if ctx.value("part", 8) == "heat":
        return ctx.page("timeline", f"Timeline of {name}", heat=await _heat(ctx, given), **shown)
    wanted = EventFilter(person=given["person"], role=given["role"], chain=given["session"])
    part = _part(ctx, _EVENTS)
    query = RecordFilter(changes=True, limit=part.limit, before=record_cursor(ctx.value("after", 128)))
    events = await ctx.attempt(_READ, explore.explore, query, wanted, _LOOKED_AT)
    shown |= part.values(address("/console/timeline", **{subject: name}), events.value)
    return ctx.page("timeline", f"Timeline of {name}", events=events, **shown)


async def _heat(ctx: ConsoleContext, given: dict[str, str]) -> Heat | None:
    """The use of a role or by a person in four weeks."""
    since = ctx.call.now - _WEEKS_MS
    of = SessionFilter(principal_id=given["role"], root_principal_id=given["person"], since=since)
    part = await ctx.attempt("daypass:ListSessions", list_sessions.session_hours, of, _SESSIONS)
    return heat_of(part.value) if part.value is not None else None


def heat_of(hours: Iterable[tuple[int, int]]) -> Heat:
    """The heat map of hours since 1970, each with its number of sessions."""
    counts = Counter[tuple[int, int]]()
    for at, number in hours:
        days, hour = divmod(at, 24)
        counts[(days + 3) % 7, hour] += number  # the first day was a Thursday
    most = max(counts.values(), default=0)
    cells = [
        (name, [(counts[day, hour], -(-4 * counts[day, hour] // most) if most else 0) for hour in range(24)])
        for day, name in enumerate(_DAYS)
    ]
    (day, hour), _ = counts.most_common(1)[0] if counts else ((0, 0), 0)
    return Heat(cells, counts.total(), f"{_DAYS[day]}, {hour:02}:00 UTC" if counts else "")
