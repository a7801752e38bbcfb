"""The installation's clock, for `daypass clock`, and records of such commands. Only the database is needed."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daypass.audit.journal import Journal
from daypass.audit.log import load_mark, reset_mark
from daypass.config import Settings
from daypass.crypto.ids import Ids
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.ports import Tx
from daypass.ports.clock import MAX_JUMP_MS, Clock
from daypass.stores.backend import UnusableDatabase
from daypass.stores.causes import DatabaseUnreachable, cause_of
from daypass.stores.engine import Database, open_database
from daypass.stores.tx import StoreTx, end_sessions_of_all_accounts

_REASON = "The clock was reset: sessions that had expired could live again."


@dataclass(frozen=True, slots=True)
class Times:
    """Times in ms since the epoch. `database` is None on SQLite, which has no clock."""

    wall: int
    mark: int
    database: int | None

    @property
    def apart(self) -> bool:
        """Whether the system clock is behind the recorded time, or far from the database's clock."""
        behind = self.mark - self.wall > MAX_JUMP_MS
        return behind or (self.database is not None and abs(self.database - self.wall) > MAX_JUMP_MS)


def times(settings: Settings) -> Times:
    """The times of the system, the record and the database. Raises UnusableDatabase, DatabaseUnreachable."""
    with opened(settings) as database:
        mark, server = database.read(lambda conn: (load_mark(conn), database.clock(conn)))
        return Times(wall(), mark, server)


def reset(settings: Settings) -> Times:
    """Declares the system clock correct: the high-water mark is reset to it, every session ends, and the reset is
    recorded.

    Running servers apply it within half a minute, servers that refuse a jump within a second.
    """
    before = times(settings)

    def change(tx: StoreTx, now: int) -> Event:
        reset_mark(tx.connection, secrets.token_hex(8), now)
        end_sessions_of_all_accounts(tx, now, _REASON)
        return Event(
            EventType.CLOCK_RESET, now, detail={"mark_before": before.mark, "mark": now, "database": before.database}
        )

    with opened(settings) as database:
        record_change(database, change)
    return before


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database of an installation. It must exist: opening a SQLite file that does not would create it."""
    url = settings.database_url()
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        raise UnusableDatabase(f"no database exists at {path}. Name the server's --data directory or --config file")
    database = open_database(url, epoch=settings.database.epoch)
    try:
        yield database
    except DaypassError as error:
        if error.kind is not ErrorKind.UNAVAILABLE:
            raise
        raise DatabaseUnreachable(cause_of(error, url)) from error
    finally:
        database.close()


def wall() -> int:
    """The system time in ms since the epoch."""
    return time.time_ns() // 1_000_000


# --- Writes to the record from a command that works on the database, without a server


def record(database: Database, event: Event) -> None:
    """Records an event. Raises the database's error, or DaypassError(UNAVAILABLE)."""
    record_change(database, lambda _tx, _now: event)


def record_change(database: Database, change: Callable[[StoreTx, int], Event]) -> None:
    """Runs `change` with the time (ms) in one transaction with the event that it returns, in a separate log."""
    asyncio.run(_journalled(database, change))


async def _journalled(database: Database, change: Callable[[StoreTx, int], Event]) -> None:
    clock = Clock()
    journal = Journal(database, clock, Ids(), socket.gethostname())

    def write(tx: Tx) -> tuple[None, Event]:
        assert isinstance(tx, StoreTx)
        return None, change(tx, clock.now())

    await journal.start()
    try:
        await journal.write(write, urgent=True)
    finally:
        await journal.close()
