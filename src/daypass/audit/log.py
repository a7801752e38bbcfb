"""One process's log. It assigns the sequence number and chain hash of each record. It stores nothing.

It must never assign a number to two events, and never continue from a record that is not known to be durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from msgspec.structs import astuple
from sqlalchemy import Connection, bindparam, func, insert, select, update

from daypass.audit.batch import JournalItem, TransactionOutcome, is_own_fault, is_unavailable
from daypass.audit.format import chain_hash, chain_seed, pack
from daypass.audit.rows import EventRow, event_row
from daypass.audit.sql import CLOCK_RESET, Statements, mark_key, note_hours, raise_mark
from daypass.domain.directory import Revocation
from daypass.domain.events import Event, EventType
from daypass.stores.engine import Database
from daypass.stores.meta import get_meta, installation, put_meta, take_lost
from daypass.stores.records import audit_logs, audit_records


@dataclass(frozen=True, slots=True)
class Position:
    """The durable end of a log."""

    seq: int
    chain: bytes


@dataclass(slots=True)
class LogBatch:
    """The rows of one transaction, and the results for its callers once it is durable."""

    start: Position
    end: Position
    records: list[tuple[Any, ...]] = field(default_factory=list)  # in the order of `sql.RECORD_COLUMNS`
    sessions: list[tuple[Any, ...]] = field(default_factory=list)  # in the order of `sql.SESSION_COLUMNS`
    outcome: TransactionOutcome = field(default_factory=TransactionOutcome)
    wrote: bool = False  # holds directory changes
    proofs: list[tuple[Any, ...]] = field(default_factory=list)  # consumed, in the order of `sql.REPLAY_COLUMNS`
    change_seconds: list[float] = field(default_factory=list)  # how long each change ran
    revocations: list[Revocation] = field(default_factory=list)  # made without the database, without positions

    @property
    def changed(self) -> bool:
        """Whether it has more than rows that can be sent again after a commit whose outcome is unknown."""
        return self.wrote or bool(self.proofs)


Apply: TypeAlias = Callable[[JournalItem, LogBatch], tuple[Any, EventRow]]
"""Runs the change of an item within the transaction of its batch; its result and the row of its event."""


class Log:
    """A log whose durable end is `end`."""

    def __init__(self, log: str, end: Position) -> None:
        self.id = log
        self.end = end

    def compose(self, items: Sequence[JournalItem], apply: Apply) -> LogBatch:
        """Assigns each item a sequence number after `end`, in order. A change that raises an error leaves no trace and
        gets no number.

        The batch is a proposal: `end` moves when it is known to be durable (`advance`).
        """
        seq, chain = self.end.seq, self.end.chain
        batch = LogBatch(self.end, self.end)
        done = batch.outcome.done
        placed: list[tuple[EventRow, bytes]] = []
        for item in items:
            row, value = item.row, None
            if row is None:
                try:
                    value, row = apply(item, batch)
                except Exception as error:
                    if is_unavailable(error) and not is_own_fault(error):
                        raise
                    batch.outcome.failed.append((item, error))
                    continue
            seq += 1
            chain = chain_hash(chain, row.leaf, seq)
            placed.append((row, chain))
            if item.session is not None:
                batch.sessions.append((self.id, seq, *item.session))
            done.append((item, value))
        batch.records = record_rows(self.id, self.end.seq + 1, placed)
        batch.end = Position(seq, chain)
        return batch

    def advance(self, batch: LogBatch) -> None:
        """Called when the batch is durable: the log continues from its end."""
        self.end = batch.end


def record_rows(log: str, first: int, placed: Sequence[tuple[EventRow, bytes]]) -> list[tuple[Any, ...]]:
    """Rows of consecutive records, in the order of `sql.RECORD_COLUMNS`, from events and their chain hashes."""
    stored = pack([row.data for row, _ in placed])
    return [
        (log, seq, *astuple(row)[:9], data, chain)
        for seq, ((row, chain), data) in enumerate(zip(placed, stored, strict=True), first)
    ]


# --- How a log begins: its row and its first event, which links it to the logs that existed before


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
    rows = record_rows(log, 0, [(event, chain)])
    statements.insert_records(conn, rows)
    note_hours(conn, rows)
    if heads:
        named = update(audit_logs).where(audit_logs.c.log == bindparam("of")).values(named_seq=bindparam("named"))
        conn.execute(named, [{"of": head["log"], "named": head["seq"]} for head in heads])
    return Position(0, chain)


class Unopened(NamedTuple):
    """The content of the opening record of a log that begins in the spool."""

    # installation, node: as in every opening.
    installation: str
    node: str
    heads: Mapping[str, Position]  # the acknowledged ends of other logs, by log
    # Members of the opening's detail: the log that it continues, or the snapshot that its process uses.
    further: Mapping[str, Any]


def open_log_without_database(log: str, now: int, unopened: Unopened) -> LogBatch:
    """Record 0 of a log that begins in the spool. The row of the log is made when the spool is drained. `now`: ms."""
    heads = [{"log": other, "seq": end.seq, "chain": end.chain.hex()} for other, end in unopened.heads.items()]
    about = {"log": log, "installation": unopened.installation, "node": unopened.node, "heads": heads}
    detail = {**about, **unopened.further}
    event = event_row(Event(type=EventType.LOG_OPENED, at=now, detail=detail))
    start = Position(-1, chain_seed(log))
    chain = chain_hash(start.chain, event.leaf, 0)
    return LogBatch(start, Position(0, chain), record_rows(log, 0, [(event, chain)]))


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
