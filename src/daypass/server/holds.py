"""The addresses whose requests are refused because they send too many, and until when their new connections wait.

A client that opens a new connection for each request would otherwise not wait at all. A request on a new connection is
delayed, not refused, because other clients may share the address.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_MAX_HOLDS: Final = 10_000  # addresses; with more, the one whose hold ends first is forgotten


class Holds:
    """Times are those of the event loop, in seconds. All holds last equally long, so they end in the order they began."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def begin(self, address: str, now: float, seconds: float) -> None:
        """Holds new connections of this address from now on; a hold that has begun is extended."""
        while self._until and (len(self._until) >= _MAX_HOLDS or next(iter(self._until.values())) <= now):
            self._until.popitem(last=False)
        self._until[address] = now + seconds
        self._until.move_to_end(address)

    def left(self, address: str, now: float) -> float:
        """How many seconds a connection of this address that begins now must wait."""
        return max(0.0, self._until.get(address, 0.0) - now) if self._until else 0.0
