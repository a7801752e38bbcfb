"""The values passed between the event loop and the writer, and the classification of failures."""

from __future__ import annotations

import sqlite3
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from daypass.audit.rows import EventRow, SessionRow, event_row, session_record, session_row
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, SessionRecord
from daypass.domain.session import SessionClaims
from daypass.ports.directory import Tx
from daypass.ports.record import Offline
from daypass.stores.feed import FeedChange

ChangeFunction: TypeAlias = Callable[[Tx], tuple[Any, Event]]


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Limits of the journal. A limit that is also a setting has the name of the setting in section `journal`.

    `fsync_delay_ms` slows down every durable commit and is only for measurements. When the database has been
    unavailable for `outage_seconds`, new requests are refused at once instead of waiting. A statement of a batch with
    directory changes may take `change_seconds`, because writers of the directory wait for one another.
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
    outage_seconds: float = 2.0
    change_seconds: float = 3.0


class JournalItem:
    """An item to be made durable: an event with an optional session, or a change that makes its own event.

    `encode` makes its rows, on the caller's side of the queue, except for the event of a change.
    """

    __slots__ = (
        "abandoned",
        "change",
        "claims",
        "deadline",
        "event",
        "finished",
        "future",
        "needs_database",
        "offline",
        "record",
        "replays",
        "row",
        "session",
        "size",
    )

    def __init__(
        self,
        future: Future[Any],
        deadline: float,
        event: Event | None,
        claims: SessionClaims | None = None,
        change: ChangeFunction | None = None,
        offline: Offline | None = None,
        replays: Sequence[ReplayEntry] = (),
    ) -> None:
        self.replays = replays
        self.future = future
        self.deadline = deadline
        self.event = event  # for a change: set after the change ran
        self.row: EventRow | None = None
        self.claims = claims
        self.record: SessionRecord | None = None
        self.session: SessionRow | None = None
        self.change = change
        self.offline = offline
        self.abandoned = False  # set by the event loop: the deadline has passed and no caller waits
        self.finished = False  # set by the writer: the outcome has been reported
        self.needs_database = (change is not None or bool(replays)) and offline is None  # a spool cannot take it
        self.size = 1024

    def encode(self) -> None:
        """Makes the rows of the event and of the session."""
        if self.claims is not None:
            self.record, self.session = session_record(self.claims), session_row(self.claims)
            if self.event is not None:
                self.event = msgspec.structs.replace(self.event, session=self.record)
        if self.event is not None:
            self.row = event_row(self.event)
            self.size = len(self.row.data) + 512


@dataclass(slots=True)
class TransactionOutcome:
    """The outcome of one transaction, reported to all its waiters in one call into the event loop."""

    done: list[tuple[JournalItem, Any]] = field(default_factory=list)
    failed: list[tuple[JournalItem, BaseException]] = field(default_factory=list)
    changes: list[FeedChange] = field(default_factory=list)
    seconds: float = 0.0


_CONFLICTS = frozenset({"40001", "40P01"})
"""SQLSTATE: serialization_failure, deadlock_detected."""


def is_unavailable(error: BaseException) -> bool:
    """Whether the failure was caused by the database and not by the data. If so, a retry may succeed."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or not isinstance(error, DataError | IntegrityError)
    if isinstance(error, DaypassError):
        return error.kind is ErrorKind.UNAVAILABLE
    return isinstance(error, PoolTimeout | OSError)


def is_conflict(error: BaseException) -> bool:
    """Whether a transaction was rolled back because of a concurrent one: repeated, it can succeed."""
    return getattr(getattr(error, "orig", None), "sqlstate", "") in _CONFLICTS


def is_own_fault(error: BaseException) -> bool:
    """Whether a change failed because it sent an invalid statement. Retrying it would only delay other requests."""
    if isinstance(error, OperationalError):  # SQLite's generic SQL error; PostgreSQL has a class for it
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return isinstance(error, ProgrammingError)


def unavailable(why: str) -> DaypassError:
    """The refusal of an item; `why` is for the log and the record only."""
    public = "The service is unavailable. Please try again shortly."
    return DaypassError(ErrorKind.UNAVAILABLE, public, private={"journal": why})


def describe(error: BaseException) -> str:
    """The database's error message for the log, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}"[:500]
