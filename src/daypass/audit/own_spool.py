"""The spool of this process: made when it is first needed, and the reason why it takes no batches, if any."""

from __future__ import annotations

import sqlite3

from daypass.audit.log import LogBatch
from daypass.audit.spool import Spool, SpoolDirectory, SpoolError
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.observability import logs


class OwnSpool:
    """`name`: the id of the process's first log; "" before it is known. The caller serializes all calls."""

    def __init__(self, place: SpoolDirectory) -> None:
        self._place = place
        self.name = ""
        self.spool: Spool | None = None
        self.fault = ""
        """Why the spool took no batch when last tried; "" when it did."""

    def make(self) -> Spool | None:
        """The spool; None, with `fault`, if it cannot be made."""
        if self.spool is None and self.name:
            try:
                self.spool = self._place.create(self.name)
                self.fault = ""
            except (OSError, sqlite3.Error) as error:
                words = getattr(error, "strerror", None) or error  # without the path: /readyz shows it to anyone
                self._failed(f"the spool cannot be made: {words}")
        return self.spool

    def append(self, batch: LogBatch) -> None:
        """Makes the batch durable in the spool. Raises DaypassError(UNAVAILABLE)."""
        spool = self._usable()
        try:
            spool.append(batch)
        except SpoolError as error:
            self._failed(str(error))
            raise not_recordable(self.fault) from error
        self.fault = ""

    def check(self) -> None:
        """Raises DaypassError(UNAVAILABLE) unless the spool can take batches again."""
        spool = self._usable()
        try:
            spool.check()
        except SpoolError as error:
            self._failed(str(error))
            raise not_recordable(self.fault) from error
        self.fault = ""

    def close(self, *, ended: bool) -> None:
        """See `Spool.close`."""
        if self.spool is not None:
            self.spool.close(ended=ended)
            self.spool = None

    def _usable(self) -> Spool:
        spool = self.make()
        if spool is None:
            raise not_recordable(self.fault)
        return spool

    def _failed(self, why: str) -> None:
        if why != self.fault:
            logs.get().error("spool.unusable", why=why, directory=str(self._place.directory))
        self.fault = why


def not_recordable(cause: str) -> DaypassError:
    """The refusal of what neither the database nor the spool can record."""
    public = "The service is unavailable: neither the database nor the local spool can record the request."
    return DaypassError(ErrorKind.UNAVAILABLE, public, private={"spool": cause})
