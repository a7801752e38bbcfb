"""An outage of the database, and how often the drain tries to end it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
