"""The batches of the last minutes, to be sent again after a failover of PostgreSQL that lost them.

With asynchronous replication the new primary may lack transactions that the old one had confirmed. The log there ends
earlier than it was acknowledged. Records, sessions and consumed one-time proofs of this process are rows, so they are
sent again unchanged. Directory changes are not; they are named. It must never send rows that do not continue the log in the database.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select, true, union

from daypass.audit.columns import searchable
from daypass.audit.log import LogBatch, Position
from daypass.audit.spool import SpooledBatch
from daypass.audit.sql import RECORD_COLUMNS, Statements, head, note_hours
from daypass.domain.directory import AccessKey, Grant, Revocation
from daypass.domain.revocation_index import SUBJECT_TABLES
from daypass.domain.session import SessionKind
from daypass.observability import logs
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.log_heads import LogHead
from daypass.stores.records import sessions

SECONDS: Final = 300.0
"""How long a batch is kept."""
MAX_BYTES: Final = 33_554_432
"""The bytes of events and sessions that are kept; the oldest batches go first."""
MAX_NAMED: Final = 20
_ROW_BYTES: Final = 400  # of a row beside its event, roughly
_DATA: Final = RECORD_COLUMNS.index("bytes")
_SEQ: Final = RECORD_COLUMNS.index("seq")
_OPERATION: Final = RECORD_COLUMNS.index("operation")


Rows: TypeAlias = LogBatch | SpooledBatch
"""A batch of a log, from the journal or from a spool."""


class _Recent(NamedTuple):
    """The rows of one batch, and nothing else of it: its items refer to all objects of their requests. Held for minutes,
    they made single collections of garbage take 0.2 to 0.4 s.
    """

    at: float
    bytes: int
    start: Position
    end: Position
    records: list[tuple[Any, ...]]
    sessions: list[tuple[Any, ...]]
    changed: bool
    proofs: Sequence[tuple[Any, ...]]


class Restored(NamedTuple):
    """The records that were sent again for one log. `changes`: records of transactions whose directory changes are lost, each as its
    sequence number and operation, at most MAX_NAMED; `lost_changes`: their number.
    """

    log: str
    records: int
    first: int
    changes: tuple[tuple[int, str], ...]
    lost_changes: int

    def detail(self) -> dict[str, Any]:
        """For the record and the server's log."""
        named = [{"seq": seq, "operation": operation} for seq, operation in self.changes]
        return {
            "log": self.log,
            "records": self.records,
            "first": self.first,
            "lost_changes": self.lost_changes,
            "named": named,
        }


class RecentBatches:
    """Bounded by time and bytes. Safe to use from the writer's thread and that of the drain.

    `fails_over`: whether the database can lose what it has confirmed. If not, nothing is kept: memory that is used again
    at once is in the processor's cache, and holding it for minutes costs each request 8 µs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, fails_over: bool = True) -> None:
        self._clock = clock
        self.fails_over = fails_over
        self._recent: dict[str, deque[_Recent]] = {}
        self._ends: dict[str, LogHead] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def note(self, log: str, batch: Rows, *, changed: bool = False, proofs: Sequence[tuple[Any, ...]] = ()) -> None:
        """Holds a batch that the database has confirmed. `proofs`: rows of the one-time proofs that it consumed."""
        if not (self.fails_over and batch.records):
            return
        rows = len(batch.records) + len(batch.sessions) + len(proofs)
        size = sum([len(row[_DATA]) for row in batch.records]) + _ROW_BYTES * rows
        with self._lock:
            self._ends[log] = LogHead(log, batch.end.seq, batch.end.chain, time.time_ns() // 1_000_000)
            kept = self._recent.setdefault(log, deque())
            if kept and kept[-1].end != batch.start:
                self._bytes -= sum(each.bytes for each in kept)
                kept.clear()
            kept.append(
                _Recent(self._clock(), size, batch.start, batch.end, batch.records, batch.sessions, changed, proofs)
            )
            self._bytes += size
            self._trim()

    def _trim(self) -> None:
        oldest = self._clock() - SECONDS
        for log in [*self._recent]:
            kept = self._recent[log]
            while kept and (kept[0].at < oldest or self._bytes > MAX_BYTES):
                self._bytes -= kept.popleft().bytes
            if not kept:
                del self._recent[log]

    def ends(self) -> list[LogHead]:
        """The last record of each log that the database has confirmed."""
        with self._lock:
            return [*self._ends.values()]

    def forget(self, log: str) -> None:
        """The log is not continued."""
        with self._lock:
            self._ends.pop(log, None)
            self._bytes -= sum(each.bytes for each in self._recent.pop(log, ()))

    def restore(self, conn: Connection, statements: Statements) -> list[Restored]:
        """Sends the batches again that the database lacks, in the transaction of `conn`.

        A log that ends in the database at none of the kept positions is not changed: its writer detects that.
        """
        with self._lock:
            return [found for log in [*self._recent] if (found := self._restore(conn, statements, log)) is not None]

    def _restore(self, conn: Connection, statements: Statements, log: str) -> Restored | None:
        stored_end, kept = head(conn, log), [*self._recent[log]]
        end = None if stored_end is None else Position(*stored_end)
        starts = [each.start for each in kept]
        if end is None or end == kept[-1].end or end not in starts:
            return None
        lost = kept[starts.index(end) :]
        for each in lost:
            statements.insert_records(conn, each.records)
            note_hours(conn, each.records)
            if each.sessions:
                statements.add_sessions(conn, each.sessions)
            if each.proofs:
                statements.consume(conn, sorted(each.proofs))
        return _restored(log, end, lost)


def _restored(log: str, end: Position, lost: Sequence[_Recent]) -> Restored:
    changed = [(row[_SEQ], row[_OPERATION]) for each in lost if each.changed for row in each.records]
    records = sum(len(each.records) for each in lost)
    return Restored(log, records, end.seq + 1, tuple(changed[:MAX_NAMED]), len(changed))


def report(restored: Sequence[Restored]) -> None:
    """Writes to the server's log what was restored, and names what was not."""
    for each in restored:
        logs.get().critical("journal.records_restored", **each.detail())


# --- Revoked


Condition: TypeAlias = ColumnElement[bool]
_MAX_VALUES: Final = 10_000  # values in one statement
_CHAINED: Final = 2
_s = sessions.c


def may_be_revoked(conn: Connection, revocations: Sequence[Revocation]) -> Condition | None:
    """A condition that every session meets which one of these revocations ended; None when the columns cannot tell."""
    conditions = _conditions(conn, revocations)
    return None if conditions is None else or_(false(), *conditions)


def active_sessions(conn: Connection, revocations: Sequence[Revocation], now: int, most: int) -> list[str]:
    """Ids of sessions that have not expired and that one of these revocations may have ended.

    Each condition is a separate query, so that the index of active sessions answers it alone.
    """
    active = _s.expires_at > now
    conditions = _conditions(conn, revocations)
    each = (
        select(_s.session_id).where(active, condition).limit(most).subquery()
        for condition in ([true()] if conditions is None else conditions)
    )
    found = union(*(select(rows.c.session_id) for rows in each)).limit(most)
    return [row.session_id for row in conn.execute(found)]


def _conditions(conn: Connection, revocations: Sequence[Revocation]) -> list[Condition] | None:
    """Every session that one of these revocations ended meets one of the conditions; None when the columns cannot tell."""
    by_table: dict[str, set[str]] = {}
    for revocation in revocations:
        by_table.setdefault(SUBJECT_TABLES[revocation.subject], set()).add(revocation.value)
    values = [value for subjects in by_table.values() for value in subjects]
    if (
        len(values) > _MAX_VALUES
        or any(searchable(value) != value for value in values)
        or not by_table.keys() <= _OWN.keys()
    ):
        return None
    conditions = []
    for table, subjects in by_table.items():
        own = _OWN[table](conn, subjects)
        if own is None:
            return None
        conditions += own
    return [*conditions, _s.depth >= _CHAINED] if conditions else []


def _of_principals(_conn: Connection, ids: Collection[str]) -> list[Condition]:
    return [_s.principal_id.in_(ids), _s.root_principal_id.in_(ids)]


def _of_sessions(conn: Connection, ids: Collection[str]) -> list[Condition] | None:
    """The sessions, and those that a user's own session gave: these have the same original principal."""
    query = select(_s.session_id, _s.kind, _s.root_principal_id).where(_s.session_id.in_(ids))
    rows = conn.execute(query).all()
    if len(rows) < len(ids):
        return None  # one that is not on the record yet may be anywhere in a chain
    roots = {row.root_principal_id for row in rows if row.kind != SessionKind.ROLE.value}
    return [_s.session_id.in_(ids), _s.root_principal_id.in_(roots)]


def _of_access_keys(conn: Connection, ids: Collection[str]) -> list[Condition] | None:
    """A long-term key signs only as its owner, who is then the original principal."""
    access_keys = ENTITY_TABLES[AccessKey].table
    query = select(access_keys.c.id, access_keys.c.owner_id).where(access_keys.c.id.in_(ids))
    owners = {row.id: row.owner_id for row in conn.execute(query)}
    return [_s.root_principal_id.in_(set(owners.values()))] if owners.keys() == set(ids) else None


def _of_grants(conn: Connection, ids: Collection[str]) -> list[Condition] | None:
    """A grant is for one role and one original principal."""
    grants = ENTITY_TABLES[Grant].table
    query = select(grants.c.id, grants.c.role_id, grants.c.principal_id).where(grants.c.id.in_(ids))
    rows = conn.execute(query).all()
    if len(rows) < len(ids):
        return None
    roles, persons = {row.role_id for row in rows}, {row.principal_id for row in rows}
    return [and_(_s.principal_id.in_(roles), _s.root_principal_id.in_(persons))]


_OWN: Final[Mapping[str, Callable[[Connection, Collection[str]], list[Condition] | None]]] = {
    "session": _of_sessions,
    "principal": _of_principals,
    "access_key": _of_access_keys,
    "grant": _of_grants,
}
"""The conditions for the values of each table of `RevocationIndex`. Accounts, source identities and clients have none."""
