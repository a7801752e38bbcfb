"""The known revocations as a feed that waits for changes.

It runs on the event loop and copies nothing for its readers: each reader has only a cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from daypass.domain.directory import Revocation
from daypass.domain.session import FeedPosition, Hop
from daypass.ports.record import FeedState
from daypass.stores.revocation_cache import RevocationCache

_UNPLACED = 2**63


class RevocationFeed:
    """The revocations that this process knows, from memory alone. Reading never waits for the database.

    Args:
        cache: the revocations.
        state: the position and completeness of the directory.
        ages: for each process in contact, this one included, how old (ms) its revocations here may be.
    """

    def __init__(
        self,
        cache: RevocationCache,
        state: Callable[[], FeedState],
        ages: Callable[[], dict[str, int]] = dict,
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
