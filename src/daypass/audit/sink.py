"""Sinks that make batches durable: the database (`database_sink`), or the database with a local spool (`spool_sink`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from daypass.audit.batch import JournalItem
from daypass.audit.log import Log, LogBatch


class Halted(Exception):
    """The stored history of this log differs from the acknowledged one."""


class LogLost(Exception):
    """A failover has led to a database that lacks acknowledged records of this log, which are reported: another log has to
    continue.
    """


class UnknownOutcome(Exception):
    """The result of a commit was lost because of `error`, so `batch` may be durable."""

    def __init__(self, batch: LogBatch, error: Exception) -> None:
        super().__init__("the outcome of a commit is not known")
        self.batch = batch
        self.error = error


class Sink(Protocol):
    """Called only by the journal's writer thread. Errors of the storage pass unchanged (`batch.is_unavailable`)."""

    @property
    def hangs(self) -> bool:
        """Whether the storage is known to be unresponsive. May be called from any thread."""
        ...

    def open(self, log: str) -> Log:
        """Writes log.opened and returns the log. After a failure, use another id, because this one may have been
        written.
        """
        ...

    def commit(self, log: Log, items: Sequence[JournalItem], *, last: bool) -> LogBatch:
        """Appends the items to the log durably, all or none. `last`: nothing follows before the process exits.

        Items that need a part of the storage that is unavailable now are left out: they have no outcome in the batch.
        Raises UnknownOutcome when the items may be durable.
        """
        ...

    def reopen(self, log: Log, name: str) -> Log | None:
        """A new log with the id `name`, which can be written although a batch of `log` is in doubt. None when there is
        none: that one must be resolved first.
        """
        ...

    @property
    def answers(self) -> bool:
        """Whether `resolve` can be expected to give an answer now."""
        ...

    def resolve(self, log: Log, in_doubt: LogBatch | None) -> bool:
        """Returns whether `in_doubt` is durable, as a final answer. With None, checks that the log ends at the
        acknowledged record.

        Raises Halted when it does not.
        """
        ...

    def idle(self) -> None:
        """Called when there has been nothing to write for a while."""
        ...


# --- An outage of the database, and how often the drain tries to end it


PAUSE_SECONDS: Final = 0.25  # between two attempts to reach the database
_LONGEST_PAUSE: Final = 4.0  # when outages follow one another
_APART_SECONDS: Final = 10.0  # an outage that begins sooner after the last one follows it


@dataclass(slots=True)
class Outage:
    """The current outage. `since`: monotonic seconds, 0.0 when the database is available."""

    since: float = 0.0
    began_at: int = 0  # ms
    cause: str = ""
    events: int = 0  # that were spooled


class Pauses:
    """How long the drain waits before an attempt: longer, when one outage follows another. A database whose disk is full
    takes small writes, so it seems available again until the next large one.
    """

    def __init__(self) -> None:
        self.seconds = PAUSE_SECONDS
        self._ended_at = float("-inf")

    def began(self, now: float) -> None:
        """An outage has begun. `now`: monotonic seconds."""
        follows = now - self._ended_at < _APART_SECONDS
        self.seconds = min(2 * self.seconds, _LONGEST_PAUSE) if follows else PAUSE_SECONDS

    def ended(self, now: float) -> None:
        self._ended_at = now
