"""The record: the only way to write, and how the record is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from daypass.domain.directory import Revocation
from daypass.domain.events import Event
from daypass.domain.session import SessionClaims
from daypass.ports.directory import Tx

T = TypeVar("T")


class Journal(Protocol):
    """The only way to write. Whatever it accepted is durable, and on the record, when it returns."""

    async def commit(self, event: Event, session: SessionClaims | None = None) -> None:
        """Event and session row in one transaction. Raises DaypassError(UNAVAILABLE) when it could not be made durable."""
        ...

    async def write(self, change: Callable[[Tx], tuple[T, Event]], session: SessionClaims | None = None) -> T:
        """Runs `change` on the writer thread; what it wrote, the feed entries and its event are one transaction.

        So is the row of `session`, where the change gives one out (a one-time proof is redeemed as its session is made).

        A DaypassError raised by `change` undoes that change alone and is raised here (the caller records it).
        """
        ...


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads the record: the account, and whether it is the operator of the installation (who sees everything)."""

    account: str
    operator: bool = False


@dataclass(frozen=True, slots=True)
class LogView:
    """One log: a process's, from its start to its end. Its last record is `seq`; hashes are hex."""

    log: str
    installation: str
    node: str
    opened_at: int
    seq: int
    chain: str
    closed: bool  # ended by log.closed; a running log and one that was cut off are not


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record, as far as the viewer may see it.

    `bytes` for the owner of what was acted on and for the operator: enough to verify the leaf. For the actor's account
    `body` alone, without decision and detail. For everyone else neither: the leaf still verifies the chain.
    """

    log: str
    seq: int
    at: int  # ms
    leaf: str  # 64 hex digits
    chain: str  # 64 hex digits
    body: Mapping[str, Any] | None
    bytes: bytes | None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records to search for, newest first; what is empty matches everything. Times in ms, `until` exclusive.

    `before` is where the last page ended: (at, log, seq) of its last record.
    """

    account: str = ""  # owner or actor
    type: str = ""
    operation: str = ""
    request_id: str = ""
    session_id: str = ""  # issued or acted on
    access_key_id: str = ""  # the actor's
    error: str = ""
    since: int | None = None
    until: int | None = None
    before: tuple[int, str, int] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to list, newest first; what is empty or None matches everything.

    `principal_id` is a role's or user's unique id; `root_principal_id` finds whatever stems from someone, down all
    chains. `before` is where the last page ended: (issued_at, session_id).
    """

    account: str = ""
    session_id: str = ""
    principal_id: str = ""
    root_principal_id: str = ""
    active: bool | None = None  # neither expired nor revoked
    revoked: bool | None = None
    before: tuple[int, str] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as the record has it. `claims` hold what is needed to tell who it is and what ends it, no more."""

    claims: SessionClaims
    log: str  # with `seq`: the record of its issue
    seq: int
    depth: int
    revoked_by: Revocation | None
    active: bool


class Records(Protocol):
    """Reads the record and the sessions. Raises DaypassError(UNAVAILABLE) when the database is away."""

    async def logs(self) -> list[LogView]:
        """Every log, oldest first."""
        ...

    async def records(self, viewer: Viewer, log: str, after: int = -1, limit: int = 1000) -> list[RecordView]:
        """The records of a log behind `after`, in order and without a gap: what verification takes."""
        ...

    async def follow(self, viewer: Viewer, cursor: Mapping[str, int], limit: int = 1000) -> list[RecordView]:
        """Records of any log behind its place in `cursor` (log: seq; absent: the whole log), by log and seq.

        Nothing is passed over, however late it was committed. Records that the viewer may not see have no body.
        """
        ...

    async def search(self, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
        """Records that the viewer may see, newest first."""
        ...

    async def sessions(self, viewer: Viewer, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
        """Sessions of the viewer's account (the operator: of all), newest first, and the `before` of the next page.

        The page may hold fewer than `limit` and still have a next one.
        """
        ...
