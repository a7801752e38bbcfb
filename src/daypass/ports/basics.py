"""Time and names, which every operation receives from outside."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two times: `now` never goes below the persisted high-water mark (attack A60); `wall` is the system time."""

    @property
    def jump_ms(self) -> int:
        """How far the system's clock is ahead of the plausible time. Credentials are issued only if it is 0 (attack
        A111).
        """
        ...

    def now(self) -> int:
        """Milliseconds since the epoch, for issue and expiry times."""
        ...

    def wall(self) -> int:
        """Milliseconds since the epoch, for checking the freshness of signatures made elsewhere, whose clocks follow
        the same time.
        """
        ...


class Ids(Protocol):
    """The source of all random names."""

    def unique(self, prefix: str) -> str:
        """A 21-character unique id: AIDA, AROA, AGPA or ANPA, then 17 of A-Z2-7."""
        ...

    def access_key(self, prefix: str) -> str:
        """A 20-character access key id: AKIA or ASIA, then 16 of A-Z2-7 (80 random bits)."""
        ...

    def secret(self) -> str:
        """A 40-character secret access key."""
        ...

    def seed(self) -> bytes:
        """40 random bytes: the seed of a virtual MFA device."""
        ...

    def session(self) -> str:
        """128 bits as 32 hex digits: 48 of the time in ms, 80 random. In order of time, its index grows at one end."""
        ...

    def request(self) -> str:
        """A UUID of version 7 (RFC 9562), ordered by time for the same reason."""
        ...
