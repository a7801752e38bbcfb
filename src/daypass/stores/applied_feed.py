"""The applied part of the change feed: its position, the cached views and the known revocations.

Each method is one step on the event loop: no other code may run between the changes and the position. It must never
report a position that it has not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import is_spent
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.stores import tx
from daypass.stores.cache import ViewCache
from daypass.stores.engine import Database, unavailable
from daypass.stores.feed import FeedChange, changes_after, feed_head, renew_epoch
from daypass.stores.log_heads import FeedHead
from daypass.stores.nodes import CHANGED, listed_nodes
from daypass.stores.revocation_feed import RevocationCache, prune_revocations, read_revocations, revocations_after
from daypass.stores.view_codec import DirectoryImage

_ACCESS: Final = frozenset({"access_requests", "grants"})


class AppliedFeed:
    """Applies changes to the cache of views and to the revocations."""

    def __init__(self, cache: ViewCache) -> None:
        self._cache = cache
        self.revocations = RevocationCache()
        self.position = FeedPosition("", 0)
        self.version = 0
        """Grows with every change."""
        self.on_ring_keys: Callable[[], None] = lambda: None
        """Called when another process has changed the ring keys."""
        self._access: dict[str, int] = {}  # by account, the position of the last change of a request or grant
        self._access_since = 0  # no change before it is known

    def access_changed(self, account: str) -> str:
        """Another text after each change of the account's access requests and grants. It is read from memory."""
        return f"{self.position.epoch}-{max(self._access.get(account, 0), self._access_since)}"

    def restore(self, image: DirectoryImage, now: int) -> None:
        """Starts from an image, in place of the first poll."""
        self.position = image.position
        self._access_since = image.position.position
        head = FeedHead(image.position.epoch, image.position.position, 0)
        self.revocations.start_over(image.revocations, head, now)
        for view in image.views:
            self._cache.put(*view)

    def apply_local(self, changes: Sequence[FeedChange]) -> bool:
        """Applies changes that this process has just committed. Returns whether positions before them are missing.

        The position advances only if none is skipped, because other processes may have committed in between.
        """
        if not changes:
            return False
        for change in changes:
            self._invalidate(change)
            if change.revocation is not None:
                self.revocations.add((change.revocation,))
            if change.position == self.position.position + 1:
                self.position = FeedPosition(self.position.epoch, change.position)
        self.version += 1
        return changes[-1].position > self.position.position

    def apply_peer(self, revocations: Sequence[Revocation], now: int) -> None:
        """Applies revocations of another process, which may have made them while the database was unavailable."""
        if revocations:
            self.revocations.add_from_peer(made for made in revocations if not is_spent(made, now))
            self.version += 1

    def apply_standby(self, polled: Polled) -> None:
        """Applies changes that a standby has beyond the position of this process, if another poll has not been quicker."""
        epoch, position = polled.head.epoch, polled.head.position
        if polled.changes and epoch == self.position.epoch and position > self.position.position:
            self._advance(polled)

    def apply(self, polled: Polled, now: int) -> Sequence[Revocation]:
        """Applies the result of one poll. Returns the revocations that a restored database lacks; they stay in force
        here.
        """
        head = polled.head
        if polled.changes is None:
            return self._start_over(polled, now)
        if head.position <= self.position.position:
            return ()  # applied in the meantime, from here or from a standby
        self._advance(polled)
        return ()

    def _advance(self, polled: Polled) -> None:
        changes, head = polled.changes or (), polled.head
        for change in changes:
            self._invalidate(change)
        if any(change.kind == CHANGED for change in changes):
            self.on_ring_keys()
        self.revocations.add(polled.revocations)
        self.position = FeedPosition(head.epoch, max(head.position, self.position.position))
        self.version += 1

    def _invalidate(self, change: FeedChange) -> None:
        self._cache.invalidate(change.keys, change.position)
        if change.kind in _ACCESS:
            self._access[change.account] = max(self._access.get(change.account, 0), change.position)

    def _start_over(self, polled: Polled, now: int) -> Sequence[Revocation]:
        """Starts over after another epoch or a feed pruned beyond the position: cached views may be of any age."""
        head, first = polled.head, not self.position.epoch
        another = head.epoch != self.position.epoch
        lost = self.revocations.start_over(polled.revocations, head, now)
        # A local change may be ahead of this snapshot, but positions are comparable only within one epoch.
        position = head.position if another else max(head.position, self.position.position)
        self._cache.flush(position)
        self._access, self._access_since = {}, position
        self.on_ring_keys()
        self.position = FeedPosition(head.epoch, position)
        self.version += 1
        if not first:
            logs.get().warning("directory.flushed", epoch=head.epoch, position=position, lost=len(lost))
        return lost if another else ()


# --- Reads the change feed from a cursor, and repairs a database that has lost data known to this process


MANY_CHANGES = 10_000
"""If the cursor is behind by more than this, starting over is cheaper than reading every change."""
RESTORED_AT_ONCE = 200
"""Revocations that are restored in one transaction, between two polls."""


class Polled(NamedTuple):
    """The result of one poll, in one snapshot. `changes` is None when the cursor is not usable and the reader must
    start over.
    """

    head: FeedHead
    changes: Sequence[FeedChange] | None
    revocations: Sequence[Revocation]
    nodes: frozenset[str] = frozenset()  # the processes that the registry lists
    clock: int | None = None  # the database server's time in ms, read after the poll began


def poll(database: Database, cursor: FeedPosition, since: int, *, timed: bool = False) -> Polled:
    """The changes after `cursor`. When starting over, all revocations that may match a session after `since` (ms) are
    read.

    A feed that ends before the cursor belongs to an older copy of the database, which first gets a new epoch. `timed`: the
    result has the database server's time. Raises DaypassError(UNAVAILABLE).
    """

    def work(conn: Connection) -> Polled:
        clock = database.clock(conn) if timed else None
        return _poll(conn, cursor, since)._replace(nodes=listed_nodes(conn), clock=clock)

    polled = database.read(work, probe=True)
    if polled.head.epoch != cursor.epoch or polled.head.position >= cursor.position:
        return polled
    _renew(database, cursor)
    return database.read(work)


def _poll(conn: Connection, cursor: FeedPosition, since: int) -> Polled:
    polled = follow(conn, cursor)
    return polled if polled.changes is not None else polled._replace(revocations=read_revocations(conn, since))


def follow(conn: Connection, cursor: FeedPosition) -> Polled:
    """The changes after `cursor`, with the revocations among them. `changes` is None when the cursor is not usable here."""
    head = feed_head(conn)
    same = head.epoch == cursor.epoch
    if same and head.position == cursor.position:
        return Polled(head, (), ())
    if same and head.pruned <= cursor.position < head.position <= cursor.position + MANY_CHANGES:
        changes = changes_after(conn, cursor.position, MANY_CHANGES)
        return Polled(head, changes, revocations_after(conn, cursor.position))
    return Polled(head, None, ())


@contextmanager
def _writing(database: Database) -> Iterator[Connection]:
    try:
        with database.write_transaction() as conn:
            yield conn
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def _renew(database: Database, cursor: FeedPosition) -> None:
    with _writing(database) as conn:
        head = feed_head(conn)
        if head.epoch == cursor.epoch and head.position < cursor.position:
            renew_epoch(conn)


def restore_revocations(database: Database, lost: Sequence[Revocation], now: int) -> None:
    """Restores revocations that the database lacks or has in an earlier state, at new positions. Raises
    DaypassError(UNAVAILABLE).
    """
    with _writing(database) as conn:
        tx.restore_revocations(tx.StoreTx(conn, now), lost)


def forget_spent(database: Database, before: int) -> int:
    """Removes stored revocations that can no longer match a session and returns their number. Raises
    DaypassError(UNAVAILABLE).
    """
    with _writing(database) as conn:
        return prune_revocations(conn, before)
