"""The revocations that this process knows, across all database epochs.

A known revocation is kept until it can no longer match a session, even if it is missing in a restored or failed-over
database (attack A105). Too many sessions may end, never too few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import RevocationIndex, is_spent
from daypass.observability import logs
from daypass.stores.log_heads import FeedHead

KEEP_MS = 7 * 24 * 3_600_000
"""Revocations made within this time are read at start. It is longer than the longest chain of sessions lasts."""


class RevocationCache:
    """All revocations that may match a session, and their index.

    `version` grows with every change, and `on_change` is then called.
    """

    def __init__(self) -> None:
        self.index = RevocationIndex()
        self.version = 0
        self.on_change: Callable[[], None] = _nothing
        self._known: dict[str, Revocation] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Adds revocations. A known revocation is replaced, unless its state here is newer: a poll may read what a local
        change has renewed already.
        """
        changed = False
        for revocation in revocations:
            current = self._known.get(revocation.id)
            if current is not None and (current == revocation or current.position > revocation.position):
                continue
            try:
                self.index.add(revocation)
            except ValueError:  # a kind that this version does not know; no session here can have it
                logs.get().error("revocation.unknown", id=revocation.id, subject=revocation.subject)
                continue
            self._known[revocation.id] = revocation
            changed = True
        if changed:
            self._changed()

    def add_from_peer(self, revocations: Iterable[Revocation]) -> None:
        """Adds revocations that another process knows. The state of a revocation in the database is newer than theirs."""
        known = self._known
        self.add(made for made in revocations if made.id not in known or made.position > known[made.id].position)

    def known(self) -> list[Revocation]:
        """All of them, in no order."""
        return [*self._known.values()]

    def start_over(self, stored: Sequence[Revocation], head: FeedHead, now: int) -> list[Revocation]:
        """Starts over with the revocations in the database. Returns the known revocations that the database lacks, or has
        in an earlier state.

        The position of a revocation from another epoch has no meaning here. Sessions of that epoch are recognised by
        their epoch, so any position before the first one of this epoch is correct.
        """
        ends = {revocation.id: revocation.issued_before for revocation in stored}
        kept = [
            replace(revocation, position=min(revocation.position, head.position))
            for revocation in self._known.values()
            if ends.get(revocation.id, -1) < revocation.issued_before and not is_spent(revocation, now)
        ]
        self.index = RevocationIndex(head.epoch)
        self._known = {}
        renewed = {revocation.id for revocation in kept}
        current = (*(revocation for revocation in stored if revocation.id not in renewed), *kept)
        self.add(revocation for revocation in current if not is_spent(revocation, now))
        self._changed()  # even without any: the epoch may be another
        return kept

    def remove_spent(self, now: int) -> None:
        """Removes revocations that can no longer match a session."""
        if self.index.remove_spent(now):
            self._known = {id_: revocation for id_, revocation in self._known.items() if not is_spent(revocation, now)}

    def _changed(self) -> None:
        self.version += 1
        self.on_change()


def _nothing() -> None:
    """The default of `on_change`."""
