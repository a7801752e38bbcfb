"""The revocations this process knows, through every life of the database.

A revocation, once known, is kept until it cannot matter any more, even if a restored or failed-over database has
forgotten it (attack A105): too many sessions may die, never too few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from daypass.domain.directory import Revocation
from daypass.domain.session import RevocationIndex, is_spent
from daypass.observability import logs
from daypass.stores.backend import FeedHead

KEEP_MS = 7 * 24 * 3_600_000
"""Revocations made within this time are read at start: longer than any chain of sessions lives."""


class RevocationBook:
    """All revocations that may matter, and the index that finds them."""

    def __init__(self) -> None:
        self.index = RevocationIndex()
        self._known: dict[str, Revocation] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Takes revocations in; one that is known already is replaced, perhaps by a position it did not have yet."""
        for revocation in revocations:
            try:
                self.index.add(revocation)
            except ValueError:  # of a kind that this version does not know; it can have no session here
                logs.get().error("revocation.unknown", id=revocation.id, subject=revocation.subject)
                continue
            self._known[revocation.id] = revocation

    def start_over(self, stored: Sequence[Revocation], head: FeedHead, now: int) -> list[Revocation]:
        """Begins again with what the database holds; returns what it should hold and does not.

        Of revocations from another life the position means nothing here, but sessions of that life are told by their
        incarnation, so every position before the first of this life will do.
        """
        ids = {revocation.id for revocation in stored}
        kept = [
            replace(revocation, position=min(revocation.position, head.position))
            for revocation in self._known.values()
            if revocation.id not in ids and not is_spent(revocation, now)
        ]
        self.index = RevocationIndex(head.incarnation)
        self._known = {}
        self.add(revocation for revocation in (*stored, *kept) if not is_spent(revocation, now))
        return kept

    def remove_spent(self, now: int) -> None:
        """Forgets what cannot matter any more."""
        if self.index.remove_spent(now):
            self._known = {id_: known for id_, known in self._known.items() if not is_spent(known, now)}
