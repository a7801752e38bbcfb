"""The one thread that writes: takes what is waiting, makes it one transaction, and tells all who wait at once.

It must never acknowledge what is not durable, never give a sequence number to two events, and never go on when the
database holds another history of its log than it remembers: then the log halts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from daypass.audit.batch import Item, JournalOptions, Outcome, is_away, is_own_fault, told, unavailable
from daypass.audit.format import chain_hash
from daypass.audit.opening import Position, open_log
from daypass.audit.rows import EventRow, event_row
from daypass.audit.sql import Statements, head, raise_mark, statements
from daypass.audit.usage import Place, UsageBook, Use, forget_usage, write_usage
from daypass.domain.errors import DaypassError
from daypass.observability import logs
from daypass.ports import Clock
from daypass.stores.backend import FEED_HEAD
from daypass.stores.engine import Database
from daypass.stores.tx import StoreTx

_CROWD = 8  # items: fewer are not worth waiting for
_LOOK_SECONDS = 0.001  # between two looks at what has come
_MOST_LOOKS = 10


class Halted(Exception):
    """The database holds another history of this log than the one that was acknowledged."""


class _Lost(Exception):
    """A transaction that was in doubt is now known not to have been committed."""


@dataclass(slots=True)
class _Attempt:
    """One transaction as it was sent, kept until it is known whether it was committed."""

    end: Position
    records: list[tuple[Any, ...]] = field(default_factory=list)
    sessions: list[tuple[Any, ...]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)
    changed: bool = False  # holds directory changes, which cannot be sent again as rows
    sent: bool = False


class LogWriter:
    """Runs on its own thread from `open` to the end of `run`. Its plain attributes may be read from anywhere.

    Args:
        tell: takes an `Outcome` on the writer thread; hands it to the event loop.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        node: str,
        options: JournalOptions,
        tell: Callable[[Outcome], None],
    ) -> None:
        self.log = ""
        self.halted = ""  # why the log takes nothing any more
        self.away_since = 0.0  # time.monotonic() of the first failure since the last success, 0.0 when all is well
        self.failures = 0
        self.queue: SimpleQueue[Item | None] = SimpleQueue()
        self.end = Position(-1, b"")
        self.usage = UsageBook()
        self._database = database
        self._clock = clock
        self._node = node
        self._options = options
        self._tell = tell
        self._statements: Statements = statements(database.dialect)
        self._marked = 0
        self._unsure = False  # the end of the log in the database must be looked at before anything is written
        self._doubt: _Attempt | None = None
        self._closing = False

    # --- The life of the log

    def open(self, log: str) -> None:
        """Writes log.opened. Raises what the database raises; another id must be taken then: it may have been written."""
        self.log = log
        now = self._clock.now()
        with self._database.write_transaction() as conn:
            self.end = open_log(conn, self._statements, self.log, self._node, now)
            raise_mark(conn, now)
            forget_usage(conn, now)
        self._marked = now

    def run(self) -> None:
        """Commits what comes, until the None that ends the queue."""
        while not self._closing:
            items = self._take()
            try:
                if items:
                    self._commit(items)
                elif not self.halted:
                    self._idle()
            except BaseException as error:  # noqa: BLE001 - a bug here must stop the log, not strand its waiters
                logs.get().critical("journal_writer_failed", log=self.log, exc_info=True)
                self._halt(f"the writer failed: {type(error).__name__}")
                self._refuse([item for item in items if not item.finished])

    def _take(self) -> list[Item]:
        """What is waiting, up to the limits of a batch; waits for the first. [] when nothing came for a while."""
        options = self._options
        try:
            first = self.queue.get(timeout=min(1.0, options.idle_seconds) if self._unsure else options.idle_seconds)
        except Empty:
            return []
        self._gather()
        items: list[Item] = []
        size = 0
        while first is not None:
            items.append(first)
            size += first.size
            if len(items) >= options.batch or size >= options.batch_bytes:
                return items
            try:
                first = self.queue.get_nowait()
            except Empty:
                return items
        self._closing = True
        return items

    def _gather(self) -> None:
        """Lets a crowd come together, as long as it keeps coming: a transaction costs as much as fifty rows do."""
        here = self.queue.qsize()
        for _ in range(_MOST_LOOKS):
            if here < _CROWD:
                return
            time.sleep(_LOOK_SECONDS)
            before, here = here, self.queue.qsize()
            if here - before < _CROWD // 2:
                return

    def _idle(self) -> None:
        """Nothing to write: settle what is in doubt, or keep the clock's mark."""
        try:
            if self._unsure:
                self._reconcile()
            else:
                now = self._clock.now()
                with self._database.write_transaction() as conn:
                    raise_mark(conn, now)
                    used = self._write_usage(conn, now)
                self._marked = now
                self.usage.settle(used, now)
        except Halted as error:
            self._halt(str(error))
        except Exception as error:
            if not is_away(error):
                raise
            self._went_away(error)

    # --- A batch

    def _commit(self, batch: list[Item]) -> None:
        """Makes every item of the batch durable, or refuses it. Returns when each waiter has been told."""
        work = [batch]
        while work:
            group = self._live(work.pop())
            if not group:
                continue
            if self.halted:
                self._refuse(group)
                continue
            try:
                if self._unsure:
                    self._reconcile()
                    group = [item for item in group if not item.finished]
                if group:
                    self._transact(group)
            except Halted as error:
                self._halt(str(error))
                work.append(group)
            except Exception as error:  # noqa: BLE001 - every failure is somebody's: the database's or one item's
                if is_away(error):
                    self._went_away(error)
                    work.append(group)  # those that were in doubt are finished, or not, when that is settled
                    time.sleep(self._options.retry_seconds)
                elif len(group) == 1:
                    self._blame(group[0], error)
                else:
                    middle = len(group) // 2
                    work += [group[middle:], group[:middle]]

    def _live(self, items: list[Item]) -> list[Item]:
        """Those that are still wanted. The rest is let go; a caller that was cancelled stays: what it did is a fact."""
        dropped = [item for item in items if item.abandoned and not item.finished]
        if dropped:
            self._refuse(dropped)
        return [item for item in items if not item.finished]

    def _transact(self, items: list[Item]) -> None:
        started = time.perf_counter()
        attempt: _Attempt | None = None
        try:
            with self._database.write_transaction() as conn:
                attempt = self._compose(conn, items)
                self._store(conn, attempt)
                self.usage.note_all([item.event for item in items if item.event is not None])
                now = self._clock.now()
                used = self._write_usage(conn, now)
                if self._options.fsync_delay_ms and attempt.records:
                    time.sleep(self._options.fsync_delay_ms / 1000)
                attempt.sent = True  # from here on a failure leaves it open whether it was committed
        except Exception:
            if attempt is not None and attempt.sent:
                self._doubt = attempt
                self._unsure = True
            raise
        attempt.outcome.seconds = time.perf_counter() - started
        self._settled(attempt)
        self.usage.settle(used, now)

    def _compose(self, conn: Connection, items: list[Item]) -> _Attempt:
        """Gives each item its place, in order. Changes run here; one that refuses leaves no trace and takes no place."""
        seq, chain = self.end.seq, self.end.chain
        log = self.log
        attempt = _Attempt(self.end)
        done = attempt.outcome.done
        for item in items:
            row, value = item.row, None
            if row is None:
                try:
                    value, row = self._apply(conn, item, attempt)
                except Exception as error:
                    if is_away(error) and not is_own_fault(error):
                        raise
                    attempt.outcome.failed.append((item, error))
                    continue
            seq += 1
            chain = chain_hash(chain, row.leaf, seq)
            attempt.records.append((log, seq, *row, chain))
            if item.session is not None:
                attempt.sessions.append((log, seq, *item.session))
            done.append((item, value))
        attempt.end = Position(seq, chain)
        return attempt

    def _apply(self, conn: Connection, item: Item, attempt: _Attempt) -> tuple[Any, EventRow]:
        """Runs a change in a savepoint. What it refuses with, or any fault of its own, undoes it alone."""
        assert item.change is not None
        feed_before = conn.info.get(FEED_HEAD)
        try:
            with conn.begin_nested():
                tx = StoreTx(conn, self._clock.now())
                value, event = item.change(tx)
                row = event_row(event)
                tx.flush()
                self.usage.note(event)
        except Exception as error:
            conn.info.pop(FEED_HEAD, None)
            if feed_before is not None:
                conn.info[FEED_HEAD] = feed_before
            if not isinstance(error, DaypassError):
                logs.get().error("journal_change_failed", log=self.log, exc_info=True)
            raise
        attempt.changed = attempt.changed or tx.wrote
        attempt.outcome.changes += tx.changes
        return value, row

    def _store(self, conn: Connection, attempt: _Attempt) -> None:
        if attempt.sessions:
            self._statements.insert_sessions(conn, attempt.sessions)
        if attempt.records and self._statements.insert_records(conn, attempt.records) != len(attempt.records):
            raise Halted("the database holds other records under the numbers that come next")
        now = self._clock.now()
        if now - self._marked >= self._options.mark_every_ms:
            raise_mark(conn, now)
            self._marked = now

    def _write_usage(self, conn: Connection, now: int) -> Mapping[Place, Use]:
        """Takes along what is due of who used what; if that cannot be written, the record goes on without it."""
        taken = self.usage.take(now, everything=self._closing)
        try:
            if taken:
                write_usage(conn, taken)
        except Exception as error:
            if is_away(error) and not is_own_fault(error):
                raise
            logs.get().error("journal_usage_refused", log=self.log, error=told(error))
        return taken

    # --- Doubt

    def _reconcile(self) -> None:
        """Asks the database for the end of the log, and settles a transaction that was in doubt for good.

        Its rows are sent again, byte-identical. PostgreSQL lets that wait for the old transaction if it still runs:
        either the rows are there afterwards, with the same hashes, or they have been added now. Changes cannot be sent
        again as rows, so theirs are taken back and the changes run anew. Any other history halts the log.
        """
        doubt = self._doubt
        landed = True
        try:
            with self._database.write_transaction() as conn:
                if doubt is not None and doubt.records:
                    self._resend(conn, doubt)
                elif self._head(conn) != self.end:
                    raise Halted("the log in the database does not end where it was acknowledged")
        except _Lost:
            landed = False
        except (DataError, IntegrityError) as error:
            raise Halted("the rows of a transaction in doubt are refused now") from error
        self._unsure = False
        self._doubt = None
        self.away_since = 0.0
        if doubt is not None and landed:
            outcome = doubt.outcome  # some of its waiters may have been refused meanwhile
            outcome.done = [pair for pair in outcome.done if not pair[0].finished]
            outcome.failed = [pair for pair in outcome.failed if not pair[0].finished]
            self._settled(doubt)

    def _resend(self, conn: Connection, doubt: _Attempt) -> None:
        found = self._head(conn)
        if found == doubt.end:
            return
        if found != self.end:
            raise Halted("the log in the database does not end where it was acknowledged")
        added = self._statements.insert_records(conn, doubt.records)
        if added == len(doubt.records):
            if doubt.changed:
                raise _Lost
            if doubt.sessions:
                self._statements.insert_sessions(conn, doubt.sessions)
        elif self._head(conn) != doubt.end:
            raise Halted("records of this log were written by someone else")

    def _head(self, conn: Connection) -> Position | None:
        found = head(conn, self.log)
        return None if found is None else Position(*found)

    # --- What comes of it

    def _settled(self, attempt: _Attempt) -> None:
        """Durable: the log goes on from here, and the waiters may know."""
        self.end = attempt.end
        self.away_since = 0.0
        for item, _ in attempt.outcome.done:
            item.finished = True
        for item, _ in attempt.outcome.failed:
            item.finished = True
        self._tell(attempt.outcome)

    def _blame(self, item: Item, error: Exception) -> None:
        """The one item that the database will not take. Its waiter learns no more than that it did not work."""
        logs.get().error("journal_row_refused", log=self.log, error=told(error))
        self._refuse([item])

    def _refuse(self, items: list[Item]) -> None:
        for item in items:
            item.finished = True
        self._tell(Outcome(failed=[(item, unavailable()) for item in items]))

    def _halt(self, why: str) -> None:
        self.halted = why
        logs.get().critical("journal_halted", log=self.log, why=why)

    def _went_away(self, error: Exception) -> None:
        self._unsure = True
        self.failures += 1
        if not self.away_since:
            self.away_since = time.monotonic()
            logs.get().error("journal_database_away", log=self.log, error=told(error))
