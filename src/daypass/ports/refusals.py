"""Refusals of unauthenticated requests."""

from __future__ import annotations

from typing import Protocol

from daypass.domain.events import Event


class Refusals(Protocol):
    """Puts anonymous refusals on the record. Repeats of one refusal from one source are counted."""

    async def record(self, event: Event) -> None:
        """When it returns, the refusal is durable, or counted together with equal refusals that are durable.

        Raises DaypassError(UNAVAILABLE) when it could not be made durable.
        """
        ...

    def count(self, event: Event) -> None:
        """Counts it without waiting: for requests that are refused because there is too much to do."""
        ...
