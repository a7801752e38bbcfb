"""The database sink. It writes session rows, records, directory changes and feed entries in one transaction."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from daypass.audit.batch import (
    JournalItem,
    JournalOptions,
    describe,
    is_conflict,
    is_own_fault,
    is_unavailable,
    unavailable,
)
from daypass.audit.log import Log, LogBatch, Position, load_reset, open_log
from daypass.audit.recent import RecentBatches, Restored, report
from daypass.audit.rows import EventRow, event_row
from daypass.audit.sink import Halted, LogLost, UnknownOutcome
from daypass.audit.sql import Hours, Statements, head, note_hours, prune_replays, raise_mark, statements
from daypass.audit.usage import UsageBook, Use, UseKey, forget_usage, write_usage
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError
from daypass.domain.revocation_index import RevocationIndex
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.ports.record import ProofUsed
from daypass.stores.acknowledged import losses
from daypass.stores.backend import FEED_HEAD, LOG_HEAD
from daypass.stores.engine import Database
from daypass.stores.feed import feed_head
from daypass.stores.log_heads import LogHead, Losses
from daypass.stores.meta import DirectoryLocked, installation, note_lost, try_lock
from daypass.stores.revocation_feed import revocations_after
from daypass.stores.tx import LOST, StoreTx, end_sessions_of_all_accounts

_PRUNED_EVERY = 16  # one proof of so many looks for expired ones
_CONFLICTS = 4  # with other transactions, after which the same one is tried again
_MAX_HOURS = 100_000
_KEPT_MS = 86_400_000  # after it has expired: the clocks of two processes may differ


Failed: TypeAlias = tuple[JournalItem, BaseException]
"""An item that is not made durable, and the error that its caller gets."""


_EPOCH: Final = "daypass epoch"
"""Identifies the database behind a connection. It stays the same while a connection that writes lasts."""


class _Lost(Exception):
    """A transaction whose outcome was unknown is now known not to have been committed."""


class DatabaseSink:
    """Implements `sink.Sink`. It also persists the clock's high-water mark and the last uses.

    `spooled`: events may go to a local spool, too (`spool_sink`). `before_commit`: called before it waits for the
    durability of a batch.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        node: str,
        options: JournalOptions,
        *,
        spooled: bool,
        before_commit: Callable[[], None],
    ) -> None:
        self.usage = UsageBook()
        self.recent = RecentBatches(fails_over=database.dialect == "postgresql")
        self._database = database
        self._clock = clock
        self._node = node
        self._options = options
        self._spooled = spooled
        self._before_commit = before_commit
        self._statements: Statements = statements(database.dialect)
        self._hours: Hours = set()  # noted in the database
        self._marked = 0
        self.installation = ""  # known when a log has been opened
        self._epoch = ""  # of the database, when it was last looked at
        self._first_log = ""  # of this process
        self.lost_logs: set[str] = set()
        """Logs of this process of which a failover has lost records that cannot be sent again."""
        self._reset = ""  # the last reset of the clock that this process has applied

    @property
    def hangs(self) -> bool:
        return self._database.hangs

    @property
    def epoch(self) -> str:
        """The epoch of the database at the last look."""
        return self._epoch

    @property
    def answers(self) -> bool:
        return True

    def reopen(self, log: Log, name: str) -> Log | None:  # noqa: ARG002 - a database has no other place
        return None

    def open(self, log: str) -> Log:
        now = self._clock.now()
        with self._database.write_transaction() as conn:
            first = self._first_log
            end = open_log(conn, self._statements, log, self._node, now, spooled=self._spooled, continues=first)
            opened = Log(log, end)
            _note(conn, opened, opened.end)
            self.installation = installation(conn)
            self._epoch = feed_head(conn).epoch
            self._reset = load_reset(conn)
            raise_mark(conn, now, self._reset)
            forget_usage(conn, now)
        self._marked = now
        self._first_log = self._first_log or log
        return opened

    def open_later(self, log: str, installation_id: str, reset: str) -> None:
        """Replaces `open` when the log begins in a spool. `reset`: the last reset of the clock."""
        self._first_log, self.installation, self._reset = log, installation_id, reset

    @property
    def clock_reset(self) -> str:
        """The id of the last reset of the clock that this process has applied."""
        return self._reset

    def idle(self) -> None:
        with self._database.write_transaction() as conn:
            self.check_epoch(conn)
            now = self._keep_mark(conn)
            used = self._write_usage(conn, now, everything=False)
        self._marked = now
        self.usage.mark_written(used, now)

    def commit(self, log: Log, items: Sequence[JournalItem], *, last: bool) -> LogBatch:
        self._refuse_lost(log)
        for _ in range(_CONFLICTS):
            try:
                return self._commit(log, items, last=last)
            except DBAPIError as error:
                if not is_conflict(error):
                    raise
            except UnknownOutcome as unknown:
                if not is_conflict(unknown.error):
                    raise
        return self._commit(log, items, last=last)

    def _commit(self, log: Log, items: Sequence[JournalItem], *, last: bool) -> LogBatch:
        batch: LogBatch | None = None
        sent = False
        try:
            bound_to_database = [item for item in items if item.needs_database]
            can_spool = self._spooled and [item for item in items if item.offline is not None]
            seconds = self._options.change_seconds if bound_to_database and not can_spool else None
            with self._database.write_transaction(seconds=seconds) as conn:
                self.check_epoch(conn)
                unblocked, ended = self._without_revoked_sessions(conn, self._without_blocked_changes(conn, log, items))
                fresh, refused = self._consume(conn, unblocked)
                batch = log.compose(fresh, lambda item, batch: self._apply(conn, log, item, batch))
                batch.outcome.failed += ended + refused
                batch.proofs += [_proof_row(entry) for item in fresh for entry in item.replays]
                self._store(conn, batch)
                hours = note_hours(conn, batch.records, self._hours)
                _note(conn, log, batch.end)
                self.usage.note_all([item.event for item in fresh if item.event is not None])
                now = self._clock.now()
                used = self._write_usage(conn, now, everything=last)
                self._before_commit()
                if self._options.fsync_delay_ms and batch.records:
                    time.sleep(self._options.fsync_delay_ms / 1000)
                sent = True  # a failure after this point leaves the outcome of the commit unknown
        except Exception as error:
            if sent and batch is not None:
                raise UnknownOutcome(batch, error) from error
            raise
        self.usage.mark_written(used, now)
        if len(self._hours) > _MAX_HOURS:
            self._hours.clear()
        self._hours |= hours
        self.recent.note(log.id, batch, changed=batch.wrote, proofs=batch.proofs)
        return batch

    def _refuse_lost(self, log: Log) -> None:
        if log.id in self.lost_logs:
            raise LogLost(f"log {log.id} lacks acknowledged records")

    def check_epoch(self, conn: Connection) -> None:
        """Raises OSError when a failover has led this connection to a database of another epoch, which may lack records:
        `restore_lost` comes first. Another user of the connections may have met the error of the failover (attack A340).
        """
        if not self.recent.fails_over or conn.info.get(_EPOCH) == self._epoch:
            return
        epoch = conn.info[_EPOCH] = feed_head(conn).epoch
        if self._epoch not in ("", epoch):
            raise OSError("the database has failed over")

    def _without_blocked_changes(
        self, conn: Connection, log: Log, items: Sequence[JournalItem]
    ) -> Sequence[JournalItem]:
        """The items without those that have to wait because other processes keep the directory locked. The database is
        available then, so this is not an outage, unless one of the changes can be done without the database: a
        revocation does not wait for a process that was cut off while it had the lock.
        """
        if not [item for item in items if item.change is not None] or try_lock(conn):
            return items
        if self._spooled and [item for item in items if item.offline is not None]:
            raise DirectoryLocked("other processes keep the directory locked")
        logs.get().warning("journal_changes_wait", log=log.id)
        return [item for item in items if item.change is None]

    def _without_revoked_sessions(
        self, conn: Connection, items: Sequence[JournalItem]
    ) -> tuple[Sequence[JournalItem], list[Failed]]:
        """The items without those whose session a revocation ends that this process had not read when it prepared the
        session, with an error for each. Such a session would be refused everywhere else. The caller tries again, and
        the process will have read the revocation.
        """
        issued = [item.claims for item in items if item.claims is not None and item.claims.seen.epoch == self._epoch]
        if not issued:
            return items, []
        unread = revocations_after(conn, min(claims.seen.position for claims in issued))
        if not unread:
            return items, []
        index = RevocationIndex(self._epoch)
        for revocation in unread:
            index.add(revocation)
        ended = [item for item in items if item.claims is not None and index.revoked(item.claims) is not None]
        error = unavailable("a revocation that this process had not read ends the session")
        return [item for item in items if item not in ended], [(item, error) for item in ended]

    def _consume(self, conn: Connection, items: Sequence[JournalItem]) -> tuple[Sequence[JournalItem], list[Failed]]:
        """Consumes the one-time proofs of all items at once. Returns the items whose proofs were unused, in order, and the
        others with their errors. A proof that several items contain belongs to the first of them.
        """
        proofs = {(entry.purpose, entry.id): entry for item in items for entry in item.replays}
        if not proofs:
            return items, []
        rows = [_proof_row(entry) for _, entry in sorted(proofs.items())]
        unused = self._statements.consume(conn, rows)
        if any(zlib.crc32(key[1].encode()) % _PRUNED_EVERY == 0 for key in proofs):
            latest = max(entry.at for entry in proofs.values())
            prune_replays(conn, latest - _KEPT_MS, 4 * _PRUNED_EVERY + len(proofs))
        fresh: list[JournalItem] = []
        used: list[Failed] = []
        for item in items:
            consumed = next((entry for entry in item.replays if (entry.purpose, entry.id) not in unused), None)
            if consumed is not None:
                used.append((item, ProofUsed(consumed)))
                continue
            unused.difference_update((entry.purpose, entry.id) for entry in item.replays)
            fresh.append(item)
        return fresh, used

    def _apply(self, conn: Connection, log: Log, item: JournalItem, batch: LogBatch) -> tuple[Any, EventRow]:
        """Runs a change in a savepoint. If the change raises an error, only that change is rolled back."""
        assert item.change is not None
        item.event = None  # from an attempt that was rolled back
        feed_before = conn.info.get(FEED_HEAD)
        began = time.perf_counter()
        try:
            with conn.begin_nested():
                tx = StoreTx(conn, self._clock.now(), locked=True)
                value, event = item.change(tx)
                if item.record is not None:
                    event = msgspec.structs.replace(event, session=item.record)
                row = event_row(event)
                tx.flush()
                item.event = event
        except Exception as error:
            conn.info.pop(FEED_HEAD, None)
            if feed_before is not None:
                conn.info[FEED_HEAD] = feed_before
            if not isinstance(error, DaypassError):
                logs.get().error("journal_change_failed", log=log.id, exc_info=True)
            raise
        finally:
            batch.change_seconds.append(time.perf_counter() - began)
        batch.wrote = batch.wrote or tx.wrote
        batch.outcome.changes += tx.changes
        batch.proofs += map(_proof_row, tx.proofs)
        return value, row

    def _store(self, conn: Connection, batch: LogBatch) -> None:
        if batch.sessions:
            self._statements.insert_sessions(conn, batch.sessions)
        if batch.records and self._statements.insert_records(conn, batch.records) != len(batch.records):
            raise Halted("the database holds other records under the numbers that come next")
        if self._clock.now() - self._marked >= self._options.mark_every_ms:
            self._marked = self._keep_mark(conn)

    def _keep_mark(self, conn: Connection) -> int:
        """Compares the clock with the database's time, persists the high-water mark and returns the persisted time in
        ms.
        """
        reset = load_reset(conn)
        if reset != self._reset:
            self._clock.reset()
            self._reset = reset
        reference = self._database.clock(conn)
        if reference is not None:
            self._clock.confirm(reference)
        now = self._clock.now()
        raise_mark(conn, now, reset)
        return now

    def _write_usage(self, conn: Connection, now: int, *, everything: bool) -> Mapping[UseKey, Use]:
        """Writes the last uses that are due. If that fails because of the data, the record is written without them."""
        due = self.usage.take(now, everything=everything)
        try:
            if due:
                write_usage(conn, due)
        except Exception as error:
            if is_unavailable(error) and not is_own_fault(error):
                raise
            logs.get().error("journal_usage_refused", error=describe(error))
        return due

    # --- Transactions in doubt

    def resolve(self, log: Log, in_doubt: LogBatch | None) -> bool:
        """Sends the rows of `in_doubt` again, byte-identical. If the old transaction is still running, PostgreSQL waits
        for it. Afterwards the rows either existed with the same hashes or have been added now. Changes cannot be sent
        again as rows, so their rows are rolled back and the changes run again.
        """
        self.restore_lost()
        self._refuse_lost(log)
        try:
            with self._database.write_transaction() as conn:
                if in_doubt is not None and in_doubt.records:
                    self._resend(conn, log, in_doubt)
                    _note(conn, log, in_doubt.end)
                elif _head(conn, log) != log.end:
                    raise Halted("the log in the database does not end where it was acknowledged")
        except _Lost:
            return False
        except (DataError, IntegrityError) as error:
            raise Halted("the rows of a transaction in doubt are refused now") from error
        if in_doubt is not None:
            self.recent.note(log.id, in_doubt, changed=in_doubt.wrote, proofs=in_doubt.proofs)
        return True

    def restore_lost(self) -> list[Restored]:
        """Sends the records of the last minutes again that a failover has lost. Raises the database's error.

        Only a database of another epoch may lack them: in the same one, somebody has removed them, which halts the log. If
        older ones are missing, too, their logs end here: what is missing is noted for the next log to name, and all sessions
        end, because some are off the record.
        """
        restored: list[Restored] = []
        lost = Losses()
        with self._database.write_transaction() as conn:
            epoch = feed_head(conn).epoch
            if self._epoch not in ("", epoch):
                restored = self.recent.restore(conn, self._statements)
                lost = losses(conn, self.recent.ends())
                if lost.heads:
                    note_lost(conn, lost)
                    now = self._clock.now()
                    end_sessions_of_all_accounts(StoreTx(conn, now), now, LOST)
        self._epoch, self._hours = epoch, set()
        report(restored)
        self._end_logs(lost)
        return restored

    def _end_logs(self, lost: Losses) -> None:
        for end in lost.heads:
            self.lost_logs.add(end.log)
            self.recent.forget(end.log)
        if lost.heads:
            self._database.forget_heads(lost.heads)
            logs.get().critical("journal.records_lost", **lost.detail())

    def _resend(self, conn: Connection, log: Log, in_doubt: LogBatch) -> None:
        stored_end = _head(conn, log)
        if stored_end == in_doubt.end:
            return
        if stored_end != in_doubt.start:
            raise Halted("the log in the database does not end where it was acknowledged")
        added = self._statements.insert_records(conn, in_doubt.records)
        note_hours(conn, in_doubt.records)
        if added == len(in_doubt.records):
            if in_doubt.changed:
                raise _Lost
            if in_doubt.sessions:
                self._statements.insert_sessions(conn, in_doubt.sessions)
        elif _head(conn, log) != in_doubt.end:
            raise Halted("records of this log were written by someone else")


def _proof_row(entry: ReplayEntry) -> tuple[Any, ...]:
    return (entry.purpose, entry.id, entry.account, entry.at, entry.expires_at)


def _note(conn: Connection, log: Log, end: Position) -> None:
    """Sets the head of the log that is written to the side file once `conn` has committed."""
    conn.info[LOG_HEAD] = LogHead(log.id, end.seq, end.chain, time.time_ns() // 1_000_000)


def _head(conn: Connection, log: Log) -> Position | None:
    stored_end = head(conn, log.id)
    return None if stored_end is None else Position(*stored_end)
