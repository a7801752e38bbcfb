"""What travels between the event loop and the writer, and whose fault a failure is."""

from __future__ import annotations

import sqlite3
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from daypass.audit.rows import EventRow, SessionRow, event_row
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.ports import Tx
from daypass.stores.feed import Change

ChangeFunction: TypeAlias = Callable[[Tx], tuple[Any, Event]]


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Named as the settings of section `journal` are, where there is one.

    `fsync_delay_ms` slows every durable commit down, for measurements alone. After `away_seconds` without the database
    nothing new waits for it: it is refused at once.
    """

    deadline_seconds: float = 5.0
    queue: int = 20_000
    batch: int = 1_000
    fsync_delay_ms: float = 0.0
    queue_bytes: int = 64 * 1024 * 1024
    batch_bytes: int = 4 * 1024 * 1024
    mark_every_ms: int = 1_000
    idle_seconds: float = 30.0
    retry_seconds: float = 0.1
    away_seconds: float = 2.0


class Item:
    """Something to be made durable: an event with, perhaps, its session, or a change that makes its own event.

    The event's `row` is made here, on the caller's side of the queue.
    """

    __slots__ = ("abandoned", "change", "deadline", "event", "finished", "future", "row", "session", "size")

    def __init__(
        self,
        future: Future[Any],
        deadline: float,
        event: Event | None,
        session: SessionRow | None = None,
        change: ChangeFunction | None = None,
    ) -> None:
        self.future = future
        self.deadline = deadline
        self.event = event
        self.row: EventRow | None = None if event is None else event_row(event)
        self.session = session
        self.change = change
        self.abandoned = False  # set by the event loop: the deadline has passed, nobody waits for it
        self.finished = False  # set by the writer: it has been told what became of it
        self.size = 1024 if self.row is None else len(self.row.data) + 512


@dataclass(slots=True)
class Outcome:
    """What the waiters of one transaction are told, in one call into the event loop."""

    done: list[tuple[Item, Any]] = field(default_factory=list)
    failed: list[tuple[Item, BaseException]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    seconds: float = 0.0


def is_away(error: BaseException) -> bool:
    """Whether the database, not what was sent to it, is to blame: then the same may succeed later."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or not isinstance(error, DataError | IntegrityError)
    if isinstance(error, DaypassError):
        return error.kind is ErrorKind.UNAVAILABLE
    return isinstance(error, PoolTimeout | OSError)


def is_own_fault(error: BaseException) -> bool:
    """Whether a change that failed in the database sent it nonsense; retrying would hold up everyone else."""
    if isinstance(error, OperationalError):  # SQLite's generic SQL error; PostgreSQL has a class for it
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return isinstance(error, ProgrammingError)


def unavailable() -> DaypassError:
    return DaypassError(ErrorKind.UNAVAILABLE, "The service is unavailable. Please try again shortly.")


def told(error: BaseException) -> str:
    """An error for the log: what the database said, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}"[:500]
