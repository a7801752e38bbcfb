"""The record: the only way to write, and how the record is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from daypass.domain.directory import ReplayEntry, Revocation
from daypass.domain.events import Event
from daypass.domain.session import SessionClaims
from daypass.ports.directory import Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offline:
    """A revocation that can be made while the database is unavailable.

    It takes effect in this process at once, without a feed position: it ends every session of its subject. The
    position is assigned when the spool is drained. `value` is what the call of `Journal.write` returns.
    """

    value: Any
    event: Event
    revocation: Revocation


class ProofUsed(Exception):
    """A one-time proof was used before: nothing was written."""

    def __init__(self, entry: ReplayEntry) -> None:
        super().__init__(entry.purpose)
        self.entry = entry


class Journal(Protocol):
    """The only way to write. When a call returns, the write is durable and on the record."""

    async def commit(
        self,
        event: Event,
        session: SessionClaims | None = None,
        replays: Sequence[ReplayEntry] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Event and session row in one transaction. While the database is unavailable they go to the local spool.

        `meanwhile`: work of the caller for the time in which the event is written. It may also come late or never, so what
        needs its result then does it itself.

        `replays`: the one-time proofs that it consumes in that transaction, which needs the database. The proofs of all
        items of a batch are one statement. Raises ProofUsed, and DaypassError(UNAVAILABLE) when it could not be made
        durable.
        """
        ...

    async def write(
        self,
        change: Callable[[Tx], tuple[T, Event]],
        session: SessionClaims | None = None,
        *,
        account: str = "",
        urgent: bool = False,
        offline: Offline | None = None,
    ) -> T:
        """Runs `change` on the writer thread; what it wrote, the feed entries and its event are one transaction.

        It needs the database; with `offline`, that is done instead of `change` while the database is unavailable.

        The row of `session`, if the change issues one, is part of it (a one-time proof is consumed when its session is
        made).

        A DaypassError raised by `change` rolls back only that change and is raised here (the caller records it).
        Accounts take turns; `account` is "" for the server's own changes. `urgent` changes (revocations, blocks,
        changes of keys) come first. Raises DaypassError: UNAVAILABLE, THROTTLED when too many changes of the account
        wait.
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
    closed: bool  # ended by log.closed; false for a running log and for one that was interrupted


@dataclass(frozen=True, slots=True)
class RecordView:
    """The part of one record that the viewer may see.

    `bytes` for the owner of the resource and for the operator: enough to verify the leaf. For the actor's account only
    `body`, without decision and detail. For all others neither; the leaf still verifies the chain.
    """

    log: str
    seq: int
    at: int  # ms
    leaf: str  # 64 hex digits
    chain: str  # 64 hex digits
    body: Mapping[str, Any] | None
    bytes: bytes | None


class ChainCheck(NamedTuple):
    """Hashes of consecutive records, computed from their bytes and leaves.

    Attributes:
        records: how many were computed.
        withheld: of these, those whose bytes the viewer may not see: their leaf is taken as it is.
        fault: the number of the first record whose hashes do not agree with what was computed; None: all agree.
    """

    records: int
    withheld: int
    fault: int | None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """A search for records, newest first. Empty fields match everything. Times in ms, `until` exclusive.

    `before` is where the last page ended: (at, log, seq) of its last record.
    """

    account: str = ""  # owner or actor
    type: str = ""
    operation: str = ""
    request_id: str = ""
    session_id: str = ""  # issued or acted on
    access_key_id: str = ""  # the actor's
    access_key_ids: Collection[str] = ()  # the actor's is one of these
    error: str = ""
    changes: bool = False  # only what changed something or was refused
    since: int | None = None
    until: int | None = None
    before: tuple[int, str, int] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """A search for sessions, newest first. Fields that are empty or None match everything.

    `principal_id` is a role's or user's unique id. `root_principal_id` finds all sessions that originate from a
    principal, down all chains. `before` is where the last page ended: (issued_at, session_id). `looked_at`: the most
    sessions that one page looks through where a filter has to be computed.
    """

    account: str = ""
    session_id: str = ""
    principal_id: str = ""
    root_principal_id: str = ""
    active: bool | None = None  # neither expired nor revoked
    revoked: bool | None = None
    since: int | None = None  # issued then (ms) or later
    before: tuple[int, str] | None = None
    limit: int = 100
    looked_at: int = 5_000


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session according to the record. `claims` hold only what is needed to identify it and to match revocations."""

    claims: SessionClaims
    log: str  # with `seq`: the record that issued it
    seq: int
    depth: int
    revoked_by: Revocation | None
    active: bool
    source_ip: str = ""  # from where it was requested


class Records(Protocol):
    """Reads the record and the sessions, fair by the accounts of the viewers.

    Raises DaypassError: UNAVAILABLE when the database is unavailable, THROTTLED when too many reads of the account wait.
    """

    async def logs(self, viewer: Viewer) -> list[LogView]:
        """Every log, oldest first."""
        ...

    async def records(self, viewer: Viewer, log: str, after: int = -1, limit: int = 1000) -> list[RecordView]:
        """The records of a log after `after`, in order and without a gap, as verification needs them."""
        ...

    def check(self, views: Sequence[RecordView]) -> ChainCheck:
        """Computes the hashes of consecutive records of one log. The chain hash of the first is taken as it is, except of
        record 0, which has nothing before it.
        """
        ...

    async def follow(self, viewer: Viewer, cursor: Mapping[str, int], limit: int = 1000) -> list[RecordView]:
        """The records of all logs after their positions in `cursor` (log: seq; absent: the whole log), sorted by log
        and seq.

        No record is skipped, however late it was committed. Records that the viewer may not see have no body.
        """
        ...

    async def search(self, viewer: Viewer, query: RecordFilter) -> list[RecordView]:
        """Records that the viewer may see, newest first."""
        ...

    def revocations(self) -> Sequence[Revocation]:
        """The revocations that this process knows, of every account."""
        ...

    def may_be_ended(self, revocations: Sequence[Revocation], most: int) -> AsyncIterator[SessionClaims]:
        """Sessions of every account that have not expired, at most `most`, and among them those that these revocations
        end. It is read before other reads.
        """
        ...

    async def sessions(self, viewer: Viewer, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
        """Sessions of the viewer's account (the operator: of all), newest first, and the `before` of the next page.

        The page may hold fewer than `limit` and still have a next one.
        """
        ...
