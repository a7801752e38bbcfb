"""Computes the time until which a process's log is complete in the database: every session issued before is recorded.

While a process has events in its spool, other processes cannot see the sessions that it issues. They must not say about
such a session that it is valid, so each process states regularly how far its log can be relied on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select, update

from daypass.audit.columns import MAX_AHEAD_MS
from daypass.observability import logs
from daypass.stores.engine import Database
from daypass.stores.records import audit_logs, audit_records

_l = audit_logs.c
_r = audit_records.c
_AT_ONCE = 50_000  # records that one comparison counts


class ProcessLogs(NamedTuple):
    """The logs of one process, the first one first, and its `recorded_until` (ms); None: everything is recorded."""

    logs: tuple[str, ...]
    recorded_until: int | None


def process_logs(conn: Connection, first: str) -> ProcessLogs | None:
    """The logs of the process whose first log has this id; None when the record has no such log."""
    query = select(_l.log, _l.continues, _l.recorded_until).where(or_(_l.log == first, _l.continues == first))
    rows = {row.log: row for row in conn.execute(query.order_by(_l.opened_at, _l.log))}
    own = rows.pop(first, None)
    return None if own is None or own.continues is not None else ProcessLogs((first, *rows), own.recorded_until)


def note_recorded(
    database: Database,
    first: str,
    now: int,
    spooling: Callable[[], bool],
    noted: int | None,
    check: Callable[[Connection], None],
) -> int | None:
    """States that the logs of this process are complete until now, unless its spool holds events. Returns what it stated
    last (ms). The first log was opened at the time of a clock that may be fast: the statement may be that much before it.

    No other process writes the value while the process runs. Another value than the last one is therefore logged, and put
    right.

    Args:
        first: the first log of the process.
        now: ms; used where the database has no clock.
        spooling: whether events may be in the spool. It is asked after the time is read: a session that was issued
            before is in the database if there are none.
        noted: what the process stated last; None: nothing yet.
        check: raises an error if the database lacks records of this process.
    """
    own = _l.log == first
    with database.write_transaction() as conn:
        check(conn)
        at = max(database.clock(conn) or now, noted or 0)
        row = conn.execute(select(_l.recorded_until, _l.opened_at).where(own)).one_or_none()
        if row is None:  # the log began in the spool, and is not drained yet
            return noted
        if noted is not None and row.recorded_until != noted:
            logs.get().error("audit.recorded_until_altered", log=first, found=row.recorded_until, stated=noted)
        stated = noted if spooling() else max(at, row.opened_at - MAX_AHEAD_MS)
        if stated is not None and stated != row.recorded_until:
            conn.execute(update(audit_logs).where(own).values(recorded_until=stated))
        return stated


def note_ended(conn: Connection, first: str) -> None:
    """States that the process has ended and that everything in its spool is in the database."""
    conn.execute(update(audit_logs).where(_l.log == first).values(recorded_until=None))


class RecordCount:
    """Compares the records that the logs of this process must have, by their sequence numbers, with those that the
    database has. It counts each record once. `expected` and `found` only grow.
    """

    def __init__(self) -> None:
        self.expected = self.found = 0
        self._counted: dict[
            str, tuple[int, int]
        ] = {}  # by log: the last sequence number counted, and the last one known

    def compare(self, conn: Connection, log: str, last: int, *, drained: bool) -> None:
        """Counts what was added. `last`: the last durable record of the current log. `drained`: none is in the spool."""
        self._counted[log] = self._counted.get(log, (-1, -1))[0], last
        if not drained:
            return
        for each, (counted, known) in [*self._counted.items()]:
            upto = min(known, counted + _AT_ONCE)
            if upto > counted:
                query = select(func.count()).where(_r.log == each, _r.seq > counted, _r.seq <= upto)
                self.found += conn.execute(query).scalar_one()
                self.expected += upto - counted
                self._counted[each] = upto, known
            elif each != log:
                del self._counted[each]  # it has ended, and was counted
