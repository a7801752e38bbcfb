"""Drains spools into the database: that of this process, chunk by chunk, and those of processes that have exited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from daypass.audit.completeness import note_ended
from daypass.audit.drain import store_spooled
from daypass.audit.log import load_reset
from daypass.audit.recent import RecentBatches
from daypass.audit.spool import Spool, SpoolDirectory, SpoolKeyUnknown, SpoolTampered
from daypass.audit.sql import raise_mark, statements
from daypass.domain.events import Event, EventType
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.stores.acknowledged import losses
from daypass.stores.backend import ANSWER_SECONDS
from daypass.stores.engine import Database
from daypass.stores.meta import installation, note_lost

_CHUNK_BYTES: Final = 4_194_304  # of batches, in one transaction
_CHUNK_SECONDS: Final = ANSWER_SECONDS  # for each of its statements: no request waits for it
_SMALL_CHUNK_BYTES: Final = 524_288  # while requests wait for it


class Drainer:
    """Use it from one thread.

    Args:
        recent: gets the batches that were drained.
        report: takes events about spools for the record.
    """

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
        for head in lost.heads:
            logs.get().critical("spool.records_missing", log=head.log, seq=head.seq)
        return lost.missing
