"""How a log begins: its row, and the first event, which ties it to the logs that were there before.

An opening names the heads of other logs that no earlier opening names at that height. So each log's end is witnessed by
a later log, however many logs there have been, and truncating one shows in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from daypass.audit.format import chain_hash, chain_seed
from daypass.audit.rows import event_row
from daypass.audit.sql import CLOCK_MARK, Statements
from daypass.domain.events import Event, EventType
from daypass.stores.meta import get_meta, installation
from daypass.stores.records import audit_logs, audit_records

MOST_HEADS = 200
"""Heads in one opening: as many as fit an event. Those left over are named by the next opening."""


@dataclass(frozen=True, slots=True)
class Position:
    """The durable end of a log."""

    seq: int
    chain: bytes


def load_mark(conn: Connection) -> int:
    """The persisted high-water mark of the clock, ms; 0 in a new installation."""
    return int(get_meta(conn, CLOCK_MARK) or 0)


def open_log(conn: Connection, statements: Statements, log: str, node: str, now: int) -> Position:
    """Writes the row of a new log and its record 0, in the transaction of `conn`. `now`: ms."""
    name = installation(conn)
    heads = _unnamed_heads(conn)
    row = {"log": log, "installation": name, "node": node, "opened_at": now, "named_seq": -1}
    conn.execute(insert(audit_logs).values(row))
    detail = {"log": log, "installation": name, "node": node, "heads": heads}
    event = event_row(Event(type=EventType.LOG_OPENED, at=now, detail=detail))
    chain = chain_hash(chain_seed(log), event.leaf, 0)
    statements.insert_records(conn, [(log, 0, *event, chain)])
    if heads:
        named = update(audit_logs).where(audit_logs.c.log == bindparam("of")).values(named_seq=bindparam("named"))
        conn.execute(named, [{"of": head["log"], "named": head["seq"]} for head in heads])
    return Position(0, chain)


def _unnamed_heads(conn: Connection) -> list[dict[str, Any]]:
    of = audit_records.alias()
    newest = select(func.max(of.c.seq)).where(of.c.log == audit_logs.c.log).correlate(audit_logs).scalar_subquery()
    query = (
        select(audit_records.c.log, audit_records.c.seq, audit_records.c.chain)
        .join(audit_logs, audit_logs.c.log == audit_records.c.log)
        .where(audit_records.c.seq == newest, audit_records.c.seq > audit_logs.c.named_seq)
        .order_by(audit_logs.c.opened_at, audit_logs.c.log)
        .limit(MOST_HEADS)
    )
    return [{"log": row.log, "seq": row.seq, "chain": bytes(row.chain).hex()} for row in conn.execute(query)]
