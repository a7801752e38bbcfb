"""Token buckets by key, in bounded memory.

A bucket is one number: the time at which it will be full again (the generic cell rate algorithm). Keys are kept in two
generations; when the younger one is full the older one is forgotten, so many distinct keys cost neither memory nor
time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from daypass.domain.source import Source

_KEYS: Final = 50_000  # of one generation
_ROUNDING: Final = 1e-6  # seconds: sums of fractions are not exact


class Buckets:
    """Buckets that fill at the same rate. For one thread.

    Args:
        rate: tokens a second; 0: nothing is ever refused.
        burst: tokens of a full bucket.
        monotonic: returns seconds of a clock that never jumps.
    """

    __slots__ = ("_burst", "_monotonic", "_older", "_seconds", "_younger")

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = 1 / rate if rate else 0.0  # for each token
        self._burst = burst * self._seconds + _ROUNDING
        self._monotonic = monotonic
        self._younger: dict[str, float] = {}
        self._older: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def take(self, key: str, tokens: float = 1.0) -> bool:
        """Takes tokens if there are enough. Returns whether there were."""
        if not self._seconds:
            return True
        now = self._monotonic()
        known = self._younger.get(key)
        full = self._older.get(key, 0.0) if known is None else known
        full = max(full, now)
        full += min(tokens * self._seconds, self._burst - _ROUNDING)  # a full bucket is enough for any request
        if full - now > self._burst:
            return False
        self._younger[key] = full
        if known is None and len(self._younger) >= _KEYS:
            self._older, self._younger = self._younger, {}
        return True

    def is_empty(self, key: str) -> bool:
        """Whether not even one token is left."""
        full = self._younger.get(key) or self._older.get(key, 0.0)
        return bool(self._seconds) and full + self._seconds - self._monotonic() > self._burst


class RequestRates:
    """The buckets of principals, accounts and networks.

    Args:
        principal, account, source: (tokens a second, tokens of a full bucket).
        observe: called for each refusal with "principal", "account" or "source".
    """

    def __init__(
        self,
        principal: tuple[float, float],
        account: tuple[float, float],
        source: tuple[float, float],
        observe: Callable[[str], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._principals = Buckets(*principal, monotonic)
        self._accounts = Buckets(*account, monotonic)
        self._sources = Buckets(*source, monotonic)
        self._observe = observe

    def charge(self, source: Source, tokens: float) -> str:
        """Charges an authenticated principal and its account. Returns "", or which of them is over its rate
        ("principal", "account").
        """
        if not self._principals.take(source.principal, tokens):
            self._observe("principal")
            return "principal"
        if not self._accounts.take(source.account, tokens):
            self._observe("account")
            return "account"
        return ""

    def charge_network(self, source: Source, tokens: float = 1.0) -> bool:
        """Charges a network for an unauthenticated request. Returns whether it is over its rate."""
        if self._sources.take(source.network, tokens):
            return False
        self._observe("source")
        return True

    def is_network_exhausted(self, source: Source) -> bool:
        """Whether a network has no token left for unauthenticated requests."""
        if not self._sources.is_empty(source.network):
            return False
        self._observe("source")
        return True
