"""The known revocations as a feed that waits for changes.

It runs on the event loop and copies nothing for its readers: each reader has only a cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import cast

from sqlalchemy import Connection, bindparam, delete, select

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import RevocationIndex, is_spent
from daypass.domain.session import FeedPosition, Hop
from daypass.observability import logs
from daypass.ports.record import FeedState
from daypass.stores import sqlite
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.log_heads import FeedHead

_UNPLACED = 2**63


class RevocationFeed:
    """The revocations that this process knows, from memory alone. Reading never waits for the database.

    Args:
        ages: for each process in contact, this one included, how old (ms) its revocations here may be.
    """

    def __init__(
        self, cache: RevocationCache, state: Callable[[], FeedState], ages: Callable[[], dict[str, int]] = dict
    ) -> None:
        self._cache = cache
        self.state = state
        self.ages = ages
        self._waiting: set[asyncio.Future[None]] = set()
        self._sorted: tuple[int, list[Revocation]] = (-1, [])
        self.closed = False
        cache.on_change = self._wake

    @property
    def version(self) -> int:
        """Grows with every change of the known revocations."""
        return self._cache.version

    def after(self, cursor: FeedPosition) -> Sequence[Revocation] | None:
        """The known revocations after `cursor`, by position; None when the cursor is of another epoch or later than
        what is known here: the reader must then start over with `everything`.

        Revocations without a position (made while the database was unavailable) come last, every time.
        """
        position = self.state().position
        if cursor.epoch != position.epoch or cursor.position > position.position:
            return None
        return [made for made in self.everything() if _place(made) > cursor.position]

    def everything(self) -> Sequence[Revocation]:
        """All known revocations, by position.

        Sorted once for each version, for all readers.
        """
        version, revocations = self._sorted
        if version != self._cache.version:
            revocations = sorted(self._cache.known(), key=_place)
            self._sorted = self._cache.version, revocations
        return revocations

    def ends(self, hops: Sequence[Hop], source_identity: str) -> bool:
        """Whether a known revocation ends a session with these hops, however old the feed is."""
        return self._cache.index.revoked_by(hops, source_identity) is not None

    async def changed(self, version: int, seconds: float) -> bool:
        """Waits until `version` has been exceeded, at most so long. Returns whether it has."""
        if self._cache.version > version or self.closed:
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
        return True

    def close(self) -> None:
        """Ends all waits; streams then end too."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


def _place(revocation: Revocation) -> int:
    return revocation.position if revocation.position > 0 else _UNPLACED


# --- The revocations that this process knows, across all database epochs


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


# --- Reads the revocations that still matter, and removes the others


_mapping = ENTITY_TABLES[Revocation]
_c = _mapping.table.c


def read_revocations(conn: Connection, since: int) -> list[Revocation]:
    """Revocations that can still match a session: blocks in force, and revocations made or valid after `since` (ms)."""
    blocking = _c.block & (_c.block_until.is_(None) | (_c.block_until > since))
    query = select(*_mapping.columns).where(blocking | (_c.created_at > since) | (_c.issued_before > since))
    return [cast(Revocation, _mapping.to_entity(row)) for row in conn.execute(query.order_by(_c.position))]


def prune_revocations(conn: Connection, before: int, limit: int = 10_000) -> int:
    """Removes up to `limit` revocations that have no block and could not end a session after `before` (ms). Returns
    their number.

    They are not put on the feed: each process removes them itself (`RevocationCache.remove_spent`).
    """
    blocking = _c.block & (_c.block_until.is_(None) | (_c.block_until > before))
    spent = ~blocking & (_c.position > 0) & (_c.created_at <= before) & (_c.issued_before <= before)
    ids = select(_c.id).where(spent).order_by(_c.position).limit(limit)
    return conn.execute(delete(_mapping.table).where(_c.id.in_(ids))).rowcount


_ANY_AFTER = "SELECT 1 FROM revocations WHERE position > ? LIMIT 1"
_REVOCATIONS_AFTER = (  # made once: each batch of sessions runs it
    select(*_mapping.columns).where(_c.position > bindparam("after")).order_by(_c.position)
)


def revocations_after(conn: Connection, position: int) -> list[Revocation]:
    """Revocations with a feed position after this one."""
    if conn.dialect.name == "sqlite" and sqlite.run(conn, _ANY_AFTER, (position,)).fetchone() is None:
        return []
    rows = conn.execute(_REVOCATIONS_AFTER, {"after": position})
    return [cast(Revocation, _mapping.to_entity(row)) for row in rows]
