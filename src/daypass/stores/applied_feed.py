"""What a process has applied of the change feed: its position, the cached views and the known revocations.

Each method is one step on the event loop: no other code may run between the changes and the position. It must never
report a position that it has not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import is_spent
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.stores.cache import ViewCache
from daypass.stores.feed import FeedChange
from daypass.stores.feed_poller import Polled
from daypass.stores.image import DirectoryImage
from daypass.stores.log_heads import FeedHead
from daypass.stores.revocation_cache import RevocationCache
from daypass.stores.ring_keys import CHANGED

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
