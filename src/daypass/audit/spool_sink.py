"""A sink with a local spool: while the database is unavailable, batches go to the spool, and are drained when it returns.

No batch goes to the database while an earlier one of the same log is in the spool. If the spool cannot take a batch
either, the items are refused. `drainer` moves the batches to the database.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from daypass.audit.batch import JournalItem, describe, is_unavailable
from daypass.audit.completeness import note_ended, note_recorded
from daypass.audit.database_sink import DatabaseSink
from daypass.audit.drain import Drainer
from daypass.audit.log import Log, LogBatch, Position, Unopened, open_log_without_database
from daypass.audit.rows import EventRow, event_row
from daypass.audit.sink import PAUSE_SECONDS, Halted, Outage, Pauses, UnknownOutcome
from daypass.audit.spool import Spool, SpoolDirectory, SpoolError, SpoolTampered
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.stores.engine import Database
from daypass.stores.feed import FeedChange
from daypass.stores.sqlite import needs_restart

_LAST_EVENTS: Final = 200  # so many are drained while the writer waits: then nothing is left
_ADOPT_SECONDS: Final = 5.0  # between two searches for spools without an owner


class OfflineStart(NamedTuple):
    """Facts about the database, from a snapshot, for a process that starts without it."""

    installation: str  # its id
    clock_reset: str  # the id of the last reset of the clock
    detail: Mapping[str, Any]  # members of the opening of its log, which say what it serves from


class SpoolSink:
    """Implements `sink.Sink` over a `DatabaseSink` and a `Spool`. `start` begins the drain; `close` ends it.

    Args:
        report: takes events about the spool for the record; called on the thread of the drain.
    """

    def __init__(
        self,
        inner: DatabaseSink,
        database: Database,
        clock: Clock,
        place: SpoolDirectory,
        node: str,
        report: Callable[[Event], None],
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._place = place
        self._node = node
        self._report = report
        self._recorded: int | None = None  # until when the logs are complete, as this process stated last
        self._recorded_in = ""  # the epoch of the database in which it was stated
        self._database = database
        self._drainer = Drainer(database, clock, inner.recent, report)
        self._gate = threading.Lock()
        """Held by the writer while it appends to the spool, and by the drain while it ends an outage."""
        self._outage = Outage()
        self._pauses = Pauses()
        self._name = ""  # the id of the first log, once it is known
        self._own: Spool | None = None  # made when it is first needed
        self.fault = ""
        """Why the spool cannot take batches, as far as is known; "" when it can."""
        self._rejected = ""  # why the spool of this process is not drained
        self._offline: OfflineStart | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daypass-drain", daemon=True)
        self.failures = 0

    # --- State; may be read from any thread

    @property
    def hangs(self) -> bool:
        return False  # the spool does not wait for the database

    @property
    def answers(self) -> bool:
        return not self._outage.since

    @property
    def outage(self) -> Outage:
        """`since` is 0.0 when there is none."""
        return self._outage

    @property
    def began_without_database(self) -> bool:
        """Whether the current outage began before the process started, which then serves from a snapshot."""
        return self._offline is not None and bool(self._outage.since)

    @property
    def depth(self) -> tuple[int, int]:
        """Events and bytes in the spool of this process."""
        spool = self._own
        return (spool.events, spool.bytes) if spool is not None else (0, 0)

    @property
    def drained(self) -> int:
        """Number of records drained so far, for metrics."""
        return self._drainer.drained

    def undrained(self) -> int:
        """See `SpoolDirectory.undrained`."""
        return self._place.undrained()

    def rejected(self) -> list[str]:
        """The names of the spools that were set aside."""
        return [path.name for path in self._place.rejected()]

    # --- Start and stop

    def start(self, name: str) -> None:
        """Makes the spool under this name (a log's id), and begins to drain. A failure is reported by `fault`."""
        self._name = name
        self._made()
        self._thread.start()

    def close(self) -> None:
        """Stops the drain after a last attempt. The next process adopts what is left in the spool."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        ended = not self._outage.since and self._note_ended()
        if self._own is not None:
            self._own.close(ended=ended)
            self._own = None

    def note_recorded(self) -> None:
        """States in the database that the logs of this process are complete until now, unless the spool holds events.
        Blocks. Raises the database's error.
        """
        if self._name:
            now, spooling = self._clock.now(), lambda: bool(self._outage.since)
            stated, self._recorded = self._recorded, None  # not known if the transaction fails: it may be committed
            if self._recorded_in != self._inner.epoch:  # a failover can have lost the last statements
                stated, self._recorded_in = None, self._inner.epoch
            self._recorded = note_recorded(self._database, self._name, now, spooling, stated, self._inner.check_epoch)

    def _note_ended(self) -> bool:
        """Returns whether it is noted. If not, the process that adopts the spool notes it."""
        try:
            with self._database.write_transaction() as conn:
                note_ended(conn, self._name)
        except Exception as error:  # noqa: BLE001 - until then its status lists count as incomplete
            logs.get().warning("spool.end_not_noted", log=self._name, error=describe(error))
            return False
        return True

    # --- sink.Sink, on the writer thread

    def open(self, log: str) -> Log:
        if self._offline is None:
            return self._inner.open(log)
        self._name = log
        self._inner.open_later(log, self._offline.installation, self._offline.clock_reset)
        with self._gate:
            self._begin(OSError("the database was unavailable when the process started"))
            return self._open_in_spool(log, {}, self._offline.detail)

    def begin_without_database(self, start: OfflineStart) -> None:
        """Call it before `open`: the log begins in the spool, because the database is unavailable."""
        self._offline = start

    def reopen(self, log: Log, name: str) -> Log | None:
        """The new log begins in the spool. Its opening names the acknowledged end of the old one."""
        with self._gate:
            if not self._outage.since:
                return None
            try:
                return self._open_in_spool(name, {log.id: log.end}, {"continues": self._name})
            except DaypassError:
                return None

    def _open_in_spool(self, name: str, heads: Mapping[str, Position], further: Mapping[str, Any]) -> Log:
        """Raises DaypassError(UNAVAILABLE)."""
        about = Unopened(self._inner.installation, self._node, heads, further)
        opening = open_log_without_database(name, self._clock.now(), about)
        self._keep(opening)
        return Log(name, opening.end)

    def commit(self, log: Log, items: Sequence[JournalItem], *, last: bool) -> LogBatch:
        with self._gate:
            if self._outage.since:
                return self._append(log, items)
        try:
            return self._inner.commit(log, items, last=last)
        except UnknownOutcome as unknown:
            with self._gate:
                self._begin(unknown.error)
                if unknown.batch.changed:
                    raise
                self._keep_in_doubt(unknown)
            return unknown.batch
        except Exception as error:
            if not is_unavailable(error) or needs_restart(error):
                raise
            with self._gate:
                self._begin(error)
                return self._append(log, items)

    def resolve(self, log: Log, in_doubt: LogBatch | None) -> bool:
        """While the database is unavailable, only a batch without directory changes can be resolved: its rows go to the
        spool, and are found or added when it is drained.
        """
        if self._rejected:
            raise Halted(self._rejected)
        with self._gate:
            if self._outage.since:
                if in_doubt is not None and in_doubt.changed:
                    raise not_recordable(self._outage.cause)
                if in_doubt is not None:
                    self._keep(in_doubt)
                elif self.fault:
                    self._use(Spool.check)
                return True
        try:
            return self._inner.resolve(log, in_doubt)
        except Exception as error:
            if is_unavailable(error) and not needs_restart(error):
                with self._gate:
                    self._begin(error)
            raise

    def idle(self) -> None:
        if self._outage.since:
            return
        try:
            self._inner.idle()
        except Exception as error:
            if not is_unavailable(error) or needs_restart(error):
                raise
            with self._gate:
                self._begin(error)

    # --- The spool, with the gate held

    def _begin(self, error: Exception) -> None:
        """The database is unavailable from now on, until the drain has reached it."""
        self.failures += 1
        if not self._outage.since:
            cause = describe(error)
            self._outage = Outage(time.monotonic(), self._clock.now(), cause)
            self._pauses.began(self._outage.since)
            logs.get().error("database.unavailable", error=cause, spool=self.fault or "in use")
        self._wake.set()

    def _append(self, log: Log, items: Sequence[JournalItem]) -> LogBatch:
        """Appends what needs no database; the rest is left out of the batch."""
        spoolable = [item for item in items if not item.needs_database]
        batch = log.compose(spoolable, _offline)
        if batch.records:
            self._keep(batch)
            self._outage.events += len(batch.records)
            self._inner.usage.note_all([item.event for item in spoolable if item.event is not None])
        return batch

    def _keep(self, batch: LogBatch) -> None:
        """Raises DaypassError(UNAVAILABLE), Halted."""
        if self._rejected:
            raise Halted(self._rejected)
        self._use(lambda spool: spool.append(batch))

    def _made(self) -> Spool | None:
        """The spool; None, with `fault`, if it cannot be made."""
        if self._own is None and self._name:
            try:
                self._own = self._place.create(self._name)
                self.fault = ""
            except (OSError, sqlite3.Error) as error:
                words = getattr(error, "strerror", None) or error  # without the path: /readyz shows it to anyone
                self._failed(f"the spool cannot be made: {words}")
        return self._own

    def _use(self, use: Callable[[Spool], None]) -> None:
        """Raises DaypassError(UNAVAILABLE) if the spool cannot be used."""
        spool = self._made()
        if spool is None:
            raise not_recordable(self.fault)
        try:
            use(spool)
        except SpoolError as error:
            self._failed(str(error))
            raise not_recordable(self.fault) from error
        self.fault = ""

    def _failed(self, why: str) -> None:
        if why != self.fault:
            logs.get().error("spool.unusable", why=why, directory=str(self._place.directory))
        self.fault = why

    def _keep_in_doubt(self, unknown: UnknownOutcome) -> None:
        try:
            self._keep(unknown.batch)
        except DaypassError as error:
            raise UnknownOutcome(unknown.batch, error) from error

    # --- The drain, on its own thread

    def _run(self) -> None:
        adopt_at = 0.0
        while True:
            stopping = self._stop.is_set()
            try:
                if self._outage.since and not self._rejected:
                    self._drain_own()
                elif time.monotonic() >= adopt_at and not stopping:
                    self._check_own()
                    self._drainer.adopt(self._place)
                    adopt_at = time.monotonic() + _ADOPT_SECONDS
            except Exception as error:  # noqa: BLE001 - the drain must continue; the batches remain in the spool
                if not is_unavailable(error):
                    logs.get().error("spool.drain_failed", exc_info=True)
            if stopping:
                return
            self._wake.wait(PAUSE_SECONDS if self._outage.since else _ADOPT_SECONDS)
            self._wake.clear()
            if self._outage.since:
                self._stop.wait(self._pauses.seconds)

    def _check_own(self) -> None:
        """Between outages: a spool that could not be written, because the disk was full, may be usable again."""
        with self._gate:
            if self.fault and not self._outage.since:
                with contextlib.suppress(DaypassError):  # the fault remains, and was logged
                    self._use(Spool.check)

    def _drain_own(self) -> None:
        """Drains the spool of this process. The outage ends when the spool is empty."""
        spool = self._own
        try:
            self._drainer.probe(self._offline.installation if self._offline is not None else "")
            restored = self._inner.restore_lost()
            if spool is not None:
                self._drain_most(spool)
            with self._gate:
                while spool is not None and self._drainer.chunk(spool, small=True):
                    pass
                outage, self._outage = self._outage, Outage()
                self._pauses.ended(time.monotonic())
                self._offline = None
        except SpoolTampered as error:
            self._reject_own(error)
            return
        if spool is not None:
            spool.forget()
        for lost in restored:
            self._report(Event(EventType.RECORDS_RESTORED, self._clock.now(), detail=lost.detail()))
        seconds = round(time.monotonic() - outage.since, 1)
        logs.get().info("database.available", seconds=seconds, spooled=outage.events)
        if outage.events:
            detail = {"events": outage.events, "since": outage.began_at, "cause": outage.cause, "adopted": False}
            self._report(Event(EventType.SPOOL_DRAINED, self._clock.now(), detail=detail))

    def _drain_most(self, spool: Spool) -> None:
        """Drains all but the last events. The writer waits for each chunk that follows one after which the spool was
        not smaller than ever before, so that requests that arrive faster than events are drained never fill it.
        """
        smallest = spool.events + 1
        while spool.events > _LAST_EVENTS:
            growing = spool.events >= smallest
            smallest = min(smallest, spool.events)
            with self._gate if growing else contextlib.nullcontext():
                self._drainer.chunk(spool, small=growing)

    def _reject_own(self, error: SpoolTampered) -> None:
        """The log halts: its history in the database cannot be continued."""
        with self._gate:
            spool, self._own = self._own, None
            self._rejected = f"its spool is not accepted: {error}"
            path = spool.reject() if spool is not None else None
        self._drainer.report_rejected(str(error), path.name if path is not None else "")


def not_recordable(cause: str) -> DaypassError:
    """The refusal of what neither the database nor the spool can record."""
    public = "The service is unavailable: neither the database nor the local spool can record the request."
    return DaypassError(ErrorKind.UNAVAILABLE, public, private={"spool": cause})


def _offline(item: JournalItem, batch: LogBatch) -> tuple[Any, EventRow]:
    """Does what an item does without the database: `ports.Offline`."""
    made = item.offline
    assert made is not None
    event = made.event
    if item.record is not None:
        event = msgspec.structs.replace(event, session=item.record)
    item.event = event
    revocation = made.revocation
    batch.revocations.append(revocation)
    batch.outcome.changes.append(
        FeedChange(0, "revocations", revocation.account, (f"revocation:{revocation.id}",), revocation)
    )
    return made.value, event_row(event)
