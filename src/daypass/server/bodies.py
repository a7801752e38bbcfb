"""Limits the bytes of request bodies in a process, in total and for each address, and returns memory to the system
after a burst.

The first bytes of a body are not counted, because connections are limited too. It never waits: a body without room is
refused.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import OrderedDict
from typing import Any, Final

FREE_BYTES: Final = 8_192
"""Bytes at the start of each body that are not counted."""

_BURST_BYTES: Final = 8_388_608  # bytes of finished bodies after which memory is returned
_CALM_BYTES: Final = 1_048_576  # bytes in flight: while there are more, memory is returned again later
_TRIM_SECONDS: Final = 2.0  # later: the bodies themselves are freed after the responses


class BodyBudget:
    """Bytes of bodies in flight.

    Args:
        most: bytes, for the process.
        most_of_one: bytes, for one address; "": peers that are not limited by address.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._by_address: dict[str, int] = {}
        self._passed = 0  # since memory was last returned
        self._trimming = False
        self.in_flight = 0

    def charge(self, address: str, size: int) -> bool:
        """Charges this many bytes, or returns False if there is no room."""
        held = self._by_address.get(address, 0) + size
        if self.in_flight + size > self._most or (address and held > self._most_of_one):
            return False
        self.in_flight += size
        self._by_address[address] = held
        self.dropped(size)
        return True

    def dropped(self, size: int) -> None:
        """Counts bytes that were read and dropped, because they have passed through memory too."""
        self._passed += size
        if self._passed >= _BURST_BYTES and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._trim)

    def release(self, address: str, size: int) -> None:
        """Returns charged bytes."""
        self.in_flight -= size
        left = self._by_address[address] - size
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]

    def _trim(self) -> None:
        """Returns memory to the system, on a thread, because it takes milliseconds."""
        loop = asyncio.get_running_loop()
        if self.in_flight <= _CALM_BYTES:
            self._passed, self._trimming = 0, False
        else:
            loop.call_later(_TRIM_SECONDS, self._trim)
        if _malloc_trim is not None:
            loop.run_in_executor(None, _malloc_trim, 0)


def _find_trim() -> Any:
    """malloc_trim(3) of the GNU C library; None elsewhere."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_malloc_trim = _find_trim()


# --- Holds


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
