"""Random names: unique ids, access keys, secrets. The one place where they are made."""

from __future__ import annotations

import base64
import os
import time
from io import BytesIO

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" * 8  # by byte value: five random bits a letter


class Ids:
    """Makes names from the system's randomness."""

    def unique(self, prefix: str) -> str:
        """A 21-character unique id: AIDA, AROA, AGPA or ANPA, then 17 of A-Z2-7 (85 random bits)."""
        return prefix + _letters(17)

    def access_key(self, prefix: str) -> str:
        """A 20-character access key id: AKIA or ASIA, then 16 of A-Z2-7 (80 random bits)."""
        return prefix + _letters(16)

    def secret(self) -> str:
        """A 40-character secret access key."""
        return base64.b64encode(random_bytes(30)).decode("ascii")

    def seed(self) -> bytes:
        """40 random bytes: the seed of a virtual MFA device."""
        return random_bytes(40)

    def session(self) -> str:
        """The time in ms (48 bits) and 1/4096 ms (12 bits), then 68 random bits, in hexadecimal.

        Ids that one process makes one after another are in order. An index on random ids costs more than the row that it
        points to.
        """
        return _timed().hex()

    def request(self) -> str:
        """A UUID of version 7 (RFC 9562, section 5.7)."""
        h = _timed().hex()
        return f"{h[:8]}-{h[8:12]}-7{h[12:15]}-{_VARIANT[h[15]]}{h[16:19]}-{h[19:31]}"


def _timed() -> bytes:
    """16 bytes: the time in 1/4096 ms (60 bits), then 68 random bits (RFC 9562, section 6.2, method 3)."""
    ticks = (time.time_ns() << 12) // 1_000_000 & 0xFFFFFFFFFFFFFFF
    random = random_bytes(9)
    return (ticks << 4 | random[0] & 15).to_bytes(8, "big") + random[1:]


def _letters(count: int) -> str:
    return random_bytes(count).translate(_LETTERS).decode("ascii")


# --- Random bytes from the operating system, fetched by the page


_PAGE = 8192  # bytes


def _renew() -> None:
    global _page  # noqa: PLW0603  # one page for all threads  # the child's own
    _page = BytesIO()


_page = BytesIO()
os.register_at_fork(after_in_child=_renew)


def random_bytes(count: int) -> bytes:
    """`count` bytes fit for keys, salts and secrets. Safe to call from any thread."""
    global _page  # noqa: PLW0603  # one page for all threads
    taken = _page.read(count)  # one atomic step that advances past the bytes it returns: no lock is needed
    if len(taken) == count:
        return taken
    page = BytesIO(os.urandom(_PAGE + count))
    taken = page.read(count)
    _page = page  # if two threads renew it at once, one page is dropped
    return taken
