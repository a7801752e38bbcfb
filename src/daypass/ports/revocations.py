"""Revocations as they are distributed: the feed that verifiers follow, and the status lists of access tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from daypass.domain.directory import Revocation
from daypass.domain.session import FeedPosition, Hop, SessionClaims


class FeedState(NamedTuple):
    """How current the revocations of this process are.

    `complete_until` (ms, wall clock): every revocation that any source made before this time is known here.
    """

    position: FeedPosition
    complete_until: int


class RevocationFeed(Protocol):
    """The revocations that this process knows, from memory alone. Reading never waits for the database."""

    @property
    def version(self) -> int:
        """Grows with every change of the known revocations."""
        ...

    def state(self) -> FeedState: ...

    def ages(self) -> Mapping[str, int]:
        """For each process in contact, this one included, how old (ms) its revocations here may be."""
        ...

    def after(self, cursor: FeedPosition) -> Sequence[Revocation] | None:
        """The known revocations after `cursor`, by position; None when the cursor is of another epoch or later than
        what is known here: the reader must then start over with `everything`.

        Revocations without a position (made while the database was unavailable) come last, every time.
        """
        ...

    def everything(self) -> Sequence[Revocation]:
        """All known revocations, by position."""
        ...

    def ends(self, hops: Sequence[Hop], source_identity: str) -> bool:
        """Whether a known revocation ends a session with these hops, however old the feed is."""
        ...

    async def changed(self, version: int, seconds: float) -> bool:
        """Waits until `version` has been exceeded, at most so long. Returns whether it has."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the process is stopping: streams must end."""
        ...


class NodeProofs(Protocol):
    """Proofs that a request comes from a node of this installation. They are valid for half a minute."""

    def make(self) -> str:
        """A new proof. Raises DaypassError(UNAVAILABLE). Safe to call from a thread."""
        ...

    async def check(self, unverified_text: str) -> None:
        """Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE."""
        ...


class StatusList(Struct, frozen=True):
    """A status list token (JWT) with its entity tag, and how long it may be cached (seconds)."""

    token: str
    tag: str
    max_age: int


class StatusLists(Protocol):
    """The status lists of access tokens: one sequence of lists for each log."""

    def allocate(self, session: SessionClaims) -> int:
        """The status index of a new session in this process's lists. No I/O."""
        ...

    def reference(self, index: int) -> tuple[str, int] | None:
        """The URI of the list that holds an index of this process, and the place in it; None where there are no lists."""
        ...

    async def token(self, list_id: str) -> StatusList | None:
        """A list by the last part of its URI; None when it is unknown or all its sessions have expired.

        Raises DaypassError(UNAVAILABLE) for a list of another process that cannot be read now.
        """
        ...
