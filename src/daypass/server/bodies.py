"""Limits the bytes of request bodies in a process, in total and for each address, and returns memory to the system
after a burst.

The first bytes of a body are not counted, because connections are limited too. It never waits: a body without room is
refused.
"""

from __future__ import annotations

import asyncio
import ctypes
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
