"""Writes the batches of a spool to the database: the same rows, in order, each exactly once.

It must never write a batch that does not continue its log, and never skip one. A batch that is in the database already
is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from daypass.audit.completeness import note_ended
from daypass.audit.format import chain_seed, unpack
from daypass.audit.log import Position, load_reset
from daypass.audit.recent import RecentBatches
from daypass.audit.spool import Spool, SpoolDirectory, SpooledBatch, SpoolKeyUnknown, SpoolTampered
from daypass.audit.sql import RECORD_COLUMNS, Statements, head, note_hours, raise_mark, statements
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType, decode
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.stores.acknowledged import losses
from daypass.stores.backend import ANSWER_SECONDS, LOG_HEAD
from daypass.stores.engine import Database
from daypass.stores.feed import insert_if_absent
from daypass.stores.log_heads import LogHead, Losses
from daypass.stores.meta import installation, note_lost
from daypass.stores.records import audit_logs, audit_records
from daypass.stores.tx import StoreTx

_BYTES: Final = RECORD_COLUMNS.index("bytes")
_AT = select(audit_records.c.chain).where(
    audit_records.c.log == bindparam("of"), audit_records.c.seq == bindparam("at")
)
_NAMED = (
    update(audit_logs)
    .where(audit_logs.c.log == bindparam("of"), audit_logs.c.named_seq < bindparam("named"))
    .values(named_seq=bindparam("named"))
)


def store_spooled(conn: Connection, statements: Statements, batches: Sequence[SpooledBatch], now: int) -> Losses:
    """Stores consecutive batches of one log in the transaction of `conn`. `now`: ms.

    A failover can have lost the records before them: returns what is missing, which is noted. Raises SpoolTampered when the
    log in the database has another history.
    """
    new = _not_stored(conn, batches)
    lost = Losses()
    if new:
        lost = _note_gap(conn, new[0], now)
        _add(conn, statements, new)
    for batch in new:
        _revoke(conn, batch, now)
    last = batches[-1]
    conn.info[LOG_HEAD] = LogHead(last.log, last.end.seq, last.end.chain, now)
    return lost


def _note_gap(conn: Connection, first: SpooledBatch, now: int) -> Losses:
    """Notes the records that are missing before a batch. Without any record of its log, a row for it is made, too."""
    acknowledged = LogHead(first.log, first.start.seq, first.start.chain, now)
    lost = losses(conn, [acknowledged]) if first.start.seq >= 0 else Losses()
    if lost.heads:
        row = {"log": first.log, "installation": installation(conn), "node": "", "opened_at": now, "named_seq": -1}
        insert_if_absent(conn, audit_logs, row)
        note_lost(conn, lost)
    return lost


def _not_stored(conn: Connection, batches: Sequence[SpooledBatch]) -> list[SpooledBatch]:
    """The batches that the log in the database does not contain. Raises SpoolTampered when they do not continue it."""
    log = batches[0].log
    stored_end = head(conn, log)
    end = Position(-1, chain_seed(log)) if stored_end is None else Position(*stored_end)
    stored = [batch for batch in batches if batch.end.seq <= end.seq]
    new = [*batches[len(stored) :]]
    consecutive = all(after.start == before.end for before, after in pairwise(batches))
    other = bool(new) and new[0].start != end and new[0].start.seq <= end.seq
    if not consecutive or other or (stored and not _contains(conn, log, stored[-1].end)):
        raise SpoolTampered(
            f"log {log} ends at record {end.seq} in the database, and the spool, from record "
            f"{batches[0].start.seq + 1}, has another history"
        )
    return new


def _contains(conn: Connection, log: str, end: Position) -> bool:
    """Whether the log has this record, and so all before it with the same content."""
    chain = conn.execute(_AT, {"of": log, "at": end.seq}).scalar_one_or_none()
    return chain is not None and bytes(chain) == end.chain


def _add(conn: Connection, statements: Statements, new: Sequence[SpooledBatch]) -> None:
    """Adds all rows of the batches. Rows of a transaction whose outcome was unknown may appear only now; they must be
    the same.
    """
    if new[0].start.seq < 0:
        _open(conn, new[0])
    log = new[0].log
    records = [row for batch in new for row in batch.records]
    sessions = [row for batch in new for row in batch.sessions]
    note_hours(conn, records)
    if statements.copy(conn, records, sessions):
        return
    added = statements.insert_records(conn, records)
    if added != len(records) and not all(_contains(conn, log, batch.end) for batch in new):
        raise SpoolTampered(f"log {log}: other records are stored under the numbers of the spool")
    if sessions and statements.add_sessions(conn, sessions) != len(sessions) and added == len(records):
        logs.get().critical("spool.session_exists", log=log, first=new[0].start.seq + 1)


def _open(conn: Connection, batch: SpooledBatch) -> None:
    """The row of a log whose first record is in the spool."""
    data = unpack(bytes(batch.records[0][_BYTES]))
    opening = decode(data[0]) if data else {}
    detail: Mapping[str, Any] = opening.get("detail", {})
    row = {
        "log": batch.log,
        "installation": detail.get("installation", ""),
        "node": detail.get("node", ""),
        "opened_at": opening.get("at", 0),
        "named_seq": -1,
        "continues": detail.get("continues"),
        "recorded_until": None if detail.get("continues") else opening.get("at", 0),
    }
    insert_if_absent(conn, audit_logs, row)
    for named in detail.get("heads", ()):
        conn.execute(_NAMED, {"of": named["log"], "named": named["seq"]})


def _revoke(conn: Connection, batch: SpooledBatch, now: int) -> None:
    """Stores the revocations that were made without the database. Each gets its position in the feed now."""
    if not batch.revocations:
        return
    tx = StoreTx(conn, now)
    for revocation in batch.revocations:
        try:
            tx.insert(revocation)
        except DaypassError as error:
            if error.kind is not ErrorKind.ALREADY_EXISTS:  # a peer that received it has stored it
                raise
    tx.flush()


# --- Drains the spools of a directory in the background


_CHUNK_BYTES: Final = 4_194_304  # of batches, in one transaction
_CHUNK_SECONDS: Final = ANSWER_SECONDS  # for each of its statements: no request waits for it
_SMALL_CHUNK_BYTES: Final = 524_288  # while requests wait for it


class Drainer:
    """Use it from one thread."""

    def __init__(
        self, database: Database, clock: Clock, recent: RecentBatches, report: Callable[[Event], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._statements = statements(database.dialect)
        self._recent = recent
        self._report = report
        self.drained = 0
        """Number of records drained so far, for metrics."""

    def probe(self, expected: str = "") -> None:
        """Raises the database's error unless it can be written, and SpoolTampered when it is another one than that of
        the snapshot with which this process started (`expected`: the id of its installation).
        """
        with self._database.write_transaction() as conn:
            if expected and installation(conn) != expected:
                raise SpoolTampered("the database is of another installation than the snapshot")
            raise_mark(conn, self._clock.now(), load_reset(conn))  # whichever reset is the last

    def chunk(self, spool: Spool, *, small: bool = False) -> bool:
        """Moves some batches to the database. Returns False when there are none. `small`: fewer, because the writer waits."""
        batches = spool.oldest(_SMALL_CHUNK_BYTES if small else _CHUNK_BYTES)
        if not batches:
            return False
        with self._database.write_transaction(seconds=None if small else _CHUNK_SECONDS) as conn:
            lost = store_spooled(conn, self._statements, batches, self._clock.now())
        if lost.heads:
            logs.get().critical("spool.records_missing", **lost.detail())
        spool.discard(batches)
        for batch in batches:
            self._recent.note(batch.log, batch)
        self.drained += sum(len(batch.records) for batch in batches)
        return True

    def adopt(self, place: SpoolDirectory) -> None:
        """Drains the spools in `place` of processes that have exited."""
        try:
            for spool in place.abandoned():
                self._adopt_one(spool)
        except SpoolTampered as error:
            self.report_rejected(str(error), "")

    def report_rejected(self, why: str, file: str) -> None:
        """Logs and records that a spool was set aside. `file`: its new name, "" when it could not be read."""
        logs.get().critical("spool.rejected", why=why, file=file)
        self._report(Event(EventType.SPOOL_REJECTED, self._clock.now(), detail={"why": why, "file": file}))

    def _adopt_one(self, spool: Spool) -> None:
        events = spool.events
        try:
            while self.chunk(spool):
                pass
            missing = self._missing(spool)
        except SpoolTampered as error:
            self.report_rejected(str(error), spool.reject().name)
            return
        except SpoolKeyUnknown as error:
            logs.get().warning("spool.key_unknown", why=str(error))
            spool.close()
            return
        except BaseException:
            spool.close()
            raise
        spool.forget()
        spool.close(ended=True)
        if events or missing:
            logs.get().info("spool.adopted", spool=spool.file.name, events=events, missing=missing)
            detail = {"events": events, "spool": spool.file.stem, "missing": missing, "adopted": True}
            self._report(Event(EventType.SPOOL_DRAINED, self._clock.now(), detail=detail))

    def _missing(self, spool: Spool) -> int:
        """Compares the database with the last acknowledged records of the spool. Returns how many are missing, because
        the end of the spool is lost; the next opening of a log names them.
        """
        with self._database.write_transaction() as conn:
            lost = losses(conn, spool.heads())
            if lost.heads:
                note_lost(conn, lost)
            else:
                note_ended(conn, spool.file.stem)
        for lost_head in lost.heads:
            logs.get().critical("spool.records_missing", log=lost_head.log, seq=lost_head.seq)
        return lost.missing
