"""Writes to the record from a command that works on the database, without a server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from daypass.audit.journal import Journal
from daypass.crypto.ids import Ids
from daypass.domain.events import Event
from daypass.ports import Tx
from daypass.ports.clock import Clock
from daypass.stores.engine import Database
from daypass.stores.tx import StoreTx


def record(database: Database, event: Event) -> None:
    """Records an event. Raises the database's error, or DaypassError(UNAVAILABLE)."""
    record_change(database, lambda _tx, _now: event)


def record_change(database: Database, change: Callable[[StoreTx, int], Event]) -> None:
    """Runs `change` with the time (ms) in one transaction with the event that it returns, in a log of its own."""
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
