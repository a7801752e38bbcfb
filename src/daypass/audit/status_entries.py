"""Reads from the record which sessions of a log have a status index, for the status lists of other processes.

An index is in the detail of the event that issued its session or, for a token of a session that existed before, of the event
of that token, which has the hops there, too. Only sessions that may not have expired are read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from daypass.audit.rows import hop_of
from daypass.audit.stored import event_bytes
from daypass.domain.events import EventType, decode
from daypass.domain.session import LONGEST_SESSION_MS, Hop
from daypass.stores.records import audit_records

STATUS_INDEX = "status_index"
"""The member of an event's detail."""
_TYPES = (EventType.SESSION_ISSUED.value, EventType.TOKEN_ISSUED.value)
_PAGE = 500
_r = audit_records.c


class StatusEntry(msgspec.Struct, frozen=True, array_like=True):
    """A session with a status index. `hops` and `source_identity` are what revocations match."""

    status_index: int
    hops: tuple[Hop, ...]
    source_identity: str
    expires_at: int


pack = msgspec.msgpack.Encoder().encode
"""An entry as bytes. Lists hold every live session, and the garbage collector would follow its objects."""
unpack = msgspec.msgpack.Decoder(StatusEntry).decode


class Page(NamedTuple):
    """Sessions of a log. `seq`: the last record read; `more`: whether there may be further ones."""

    entries: tuple[StatusEntry, ...]
    seq: int
    more: bool


def first_live(conn: Connection, log: str, now: int) -> int:
    """A sequence number of the log before which every session has expired; -1 for none."""
    oldest = now - LONGEST_SESSION_MS
    query = select(func.min(_r.seq)).where(_r.log == log, _r.at >= oldest)
    return int(conn.execute(query).scalar() or 0) - 1


def read_entries(conn: Connection, log: str, after: int) -> Page:
    """The next sessions of a log after the record `after`."""
    issued = _r.type.in_(_TYPES)
    query = select(_r.log, _r.seq, _r.bytes).where(_r.log == log, _r.seq > after, issued).order_by(_r.seq).limit(_PAGE)
    rows = conn.execute(query).all()
    data = event_bytes(conn, rows)
    bodies = [decode(data[log, row.seq]) for row in rows if data[log, row.seq]]
    entries = [entry for body in bodies if (entry := _entry(body)) is not None]
    return Page(tuple(entries), rows[-1].seq if rows else after, len(rows) == _PAGE)


def _entry(body: dict[str, Any]) -> StatusEntry | None:
    detail = body.get("detail", {})
    index, session = detail.get(STATUS_INDEX), body.get("session") or detail.get("session")
    if not isinstance(index, int) or index < 0 or not isinstance(session, dict):
        return None
    hops = tuple(map(hop_of, session["hops"]))
    return StatusEntry(index, hops, str(session.get("source_identity", "")), int(session["expires_at"]))
