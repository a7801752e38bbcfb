"""How a log begins: its row and its first event, which links it to the logs that existed before.

An opening names each head of another log that no earlier opening names. So the end of each log is witnessed by a later
log, and truncating one log is detected from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from daypass.audit.format import chain_hash, chain_seed
from daypass.audit.log import Batch, Position, record_rows
from daypass.audit.rows import event_row
from daypass.audit.sql import CLOCK_RESET, Statements, mark_key, raise_mark
from daypass.domain.events import Event, EventType
from daypass.stores.engine import Database
from daypass.stores.meta import get_meta, installation, put_meta, take_lost
from daypass.stores.records import audit_logs, audit_records

MAX_HEADS = 200
"""Maximum number of heads in one opening, limited by the size of an event. The next opening names the rest."""


def load_mark(conn: Connection) -> int:
    """The persisted high-water mark of the clock, ms; 0 in a new installation."""
    return int(get_meta(conn, mark_key(load_reset(conn))) or 0)


def load_reset(conn: Connection) -> str:
    """The id of the last reset of the clock; "" if there was none."""
    return get_meta(conn, CLOCK_RESET) or ""


def read_times(database: Database) -> tuple[int, int | None]:
    """The persisted high-water mark and the time according to other processes or the database, both in ms, for
    `Clock`.

    PostgreSQL has its own clock. Processes that share a SQLite file persist their time with every write, and every half
    minute while idle. That is far less than the jump that a clock accepts.
    """
    others = database.others()
    mark, reference = database.read(lambda conn: (load_mark(conn), database.clock(conn)))
    if reference is None and others:
        reference = mark
    return mark, reference


def reset_mark(conn: Connection, reset: str, wall: int) -> None:
    """Begins a new high-water mark at `wall` (ms), under a new id. Running processes detect and apply it."""
    put_meta(conn, CLOCK_RESET, reset)
    raise_mark(conn, wall, reset)


def open_log(
    conn: Connection,
    statements: Statements,
    log: str,
    node: str,
    now: int,
    *,
    spooled: bool = False,
    continues: str = "",
) -> Position:
    """Writes the row of a new log and its record 0, in the transaction of `conn`. `now`: ms.

    `spooled`: its process may write events to a local spool, so the log is complete only as far as its row says.
    `continues`: the first log of the process, if this is another one.
    """
    name = installation(conn)
    heads = _unnamed_heads(conn)
    row = {"log": log, "installation": name, "node": node, "opened_at": now, "named_seq": -1}
    if continues:
        row["continues"] = continues
    elif spooled:
        row["recorded_until"] = now
    conn.execute(insert(audit_logs).values(row))
    losses = take_lost(conn)
    lost = [{"log": head.log, "seq": head.seq, "chain": head.chain.hex()} for head in losses.heads]
    detail: dict[str, Any] = {"log": log, "installation": name, "node": node, "heads": [*lost, *heads]}
    if continues:
        detail["continues"] = continues
    if lost:
        # Listed first: they were acknowledged but are not in the database.
        detail |= {"lost": len(lost), "missing": losses.missing, "since": losses.since, "until": losses.until}
    event = event_row(Event(type=EventType.LOG_OPENED, at=now, detail=detail))
    chain = chain_hash(chain_seed(log), event.leaf, 0)
    statements.insert_records(conn, record_rows(log, 0, [(event, chain)]))
    if heads:
        named = update(audit_logs).where(audit_logs.c.log == bindparam("of")).values(named_seq=bindparam("named"))
        conn.execute(named, [{"of": head["log"], "named": head["seq"]} for head in heads])
    return Position(0, chain)


class Unopened(NamedTuple):
    """The content of the opening record of a log that begins in the spool.

    Attributes:
        installation, node: as in every opening.
        heads: the acknowledged ends of other logs, by log.
        further: members of the opening's detail: the log that it continues, or the snapshot that its process uses.
    """

    installation: str
    node: str
    heads: Mapping[str, Position]
    further: Mapping[str, Any]


def open_log_without_database(log: str, now: int, unopened: Unopened) -> Batch:
    """Record 0 of a log that begins in the spool. The row of the log is made when the spool is drained. `now`: ms."""
    heads = [{"log": other, "seq": end.seq, "chain": end.chain.hex()} for other, end in unopened.heads.items()]
    about = {"log": log, "installation": unopened.installation, "node": unopened.node, "heads": heads}
    detail = {**about, **unopened.further}
    event = event_row(Event(type=EventType.LOG_OPENED, at=now, detail=detail))
    start = Position(-1, chain_seed(log))
    chain = chain_hash(start.chain, event.leaf, 0)
    return Batch(start, Position(0, chain), record_rows(log, 0, [(event, chain)]))


def _unnamed_heads(conn: Connection) -> list[dict[str, Any]]:
    of = audit_records.alias()
    newest = select(func.max(of.c.seq)).where(of.c.log == audit_logs.c.log).correlate(audit_logs).scalar_subquery()
    query = (
        select(audit_records.c.log, audit_records.c.seq, audit_records.c.chain)
        .join(audit_logs, audit_logs.c.log == audit_records.c.log)
        .where(audit_records.c.seq == newest, audit_records.c.seq > audit_logs.c.named_seq)
        .order_by(audit_logs.c.opened_at, audit_logs.c.log)
        .limit(MAX_HEADS)
    )
    return [{"log": row.log, "seq": row.seq, "chain": bytes(row.chain).hex()} for row in conn.execute(query)]
