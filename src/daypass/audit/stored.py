"""The bytes of events as they are stored in the database: several records share one chunk (`packing`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection, bindparam, func, select, tuple_

from daypass.audit.format import CHUNK_RECORDS, unpack
from daypass.stores.records import audit_records

RecordId: TypeAlias = tuple[str, int]
"""Log and sequence number."""

_r = audit_records.c
_CHUNK = (
    select(_r.seq, _r.bytes)
    .where(_r.log == bindparam("of_log"), _r.seq <= bindparam("at"), _r.seq > bindparam("beyond"))
    .where(func.length(_r.bytes) > 0)
    .order_by(_r.seq.desc())
    .limit(1)
)
_BATCH = 200  # in one statement
# One statement for all calls: each one that SQLAlchemy makes of values refers to itself and to them, and only the garbage
# collector frees those, which stops the event loop for tens of milliseconds.
_SOME = select(_r.log, _r.seq, _r.bytes).where(tuple_(_r.log, _r.seq).in_(bindparam("ids", expanding=True)))


class Stored(Protocol):
    """A row with at least these columns of `audit_records`."""

    log: Any
    seq: Any
    bytes: Any


S = TypeVar("S", bound=Stored)


def whole(rows: Iterable[S]) -> list[S]:
    """The rows whose sequence number is an integer. SQLite can also store a fraction or text in this column."""
    return [row for row in rows if type(row.seq) is int]


def event_bytes(conn: Connection, rows: Iterable[Stored]) -> dict[RecordId, bytes]:
    """The event bytes of each row; b"" where they cannot be read. A chunk is read once for all its rows."""
    data: dict[RecordId, bytes] = {}
    chunks: dict[str, tuple[int, list[bytes]]] = {}  # the last one of each log
    for row in sorted(whole(rows), key=lambda row: (row.log, row.seq)):
        start, events = chunks.get(row.log, (0, []))
        if row.bytes:
            start, events = row.seq, unpack(bytes(row.bytes))
        elif not start <= row.seq < start + len(events):
            start, events = _chunk(conn, row.log, row.seq)
        chunks[row.log] = start, events
        at = row.seq - start
        data[row.log, row.seq] = events[at] if 0 <= at < len(events) else b""
    return data


def _chunk(conn: Connection, log: str, seq: int) -> tuple[int, list[bytes]]:
    """The chunk that holds a record: the sequence number of its first record, and its events."""
    row = conn.execute(_CHUNK, {"of_log": log, "at": seq, "beyond": seq - CHUNK_RECORDS}).one_or_none()
    return (0, []) if row is None else (row.seq, unpack(bytes(row.bytes)))


def events_of(conn: Connection, ids: Sequence[RecordId]) -> dict[RecordId, bytes]:
    """The bytes of the events at these positions, for the records that exist."""
    data: dict[RecordId, bytes] = {}
    for start in range(0, len(ids), _BATCH):
        some = ids[start : start + _BATCH]
        data |= event_bytes(conn, conn.execute(_SOME, {"ids": some}).all())
    return data
