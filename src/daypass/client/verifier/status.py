"""Status lists: whether a token is revoked according to its issuer's list (draft-ietf-oauth-status-list)."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from daypass.client.verifier.keys import Malformed, decoded

TYPE: Final = "statuslist+jwt"
MAX_BYTES: Final = 1_048_576
"""The size of a list before compression, in bytes."""
MAX_TOKEN: Final = 65_536
"""Characters of a list's token. One of 131,072 statuses has 30,000 when half of them are revoked."""
_MAX_LISTS: Final = 256
_PARALLEL: Final = 16  # fetches at once
_AGAIN_SECONDS: Final = 1.0  # between two attempts to fetch a list


class StatusUnknown(Exception):
    """The list cannot be had, is too old, or does not cover the token."""


class _Cached(NamedTuple):
    bits: bytes
    complete_until: float  # seconds, by the issuer's clock
    fetch_again: float  # seconds of the monotonic clock


class StatusLists:
    """The lists of one issuer.

    Args:
        fetch: returns the verified claims of a list by its URI; raises OSError, ValueError or Malformed.
        clock, monotonic: seconds.
    """

    def __init__(
        self, fetch: Callable[[str], Mapping[str, Any]], clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._monotonic = monotonic
        self._lists: OrderedDict[str, _Cached] = OrderedDict()
        self._not_before: dict[str, float] = {}  # when a list that could not be fetched may be tried again
        self._lock = threading.Lock()
        self._fetching = [threading.Lock() for _ in range(_PARALLEL)]

    def is_revoked(self, uri: str, index: int, limit_seconds: float) -> bool:
        """The status in a list that is complete until `limit_seconds` ago, at least. Raises StatusUnknown."""
        with self._lock:
            entry = self._lists.get(uri)
            if entry is not None:
                self._lists.move_to_end(uri)
        if self._is_stale(entry, limit_seconds):
            with self._fetching[hash(uri) % _PARALLEL]:
                entry = self._lists.get(uri)
                if self._is_stale(entry, limit_seconds):  # else another thread has fetched it meanwhile
                    entry = self._newer(uri, self._fetched(uri))
        assert entry is not None
        if self._age(entry) > limit_seconds:
            raise StatusUnknown("the status list is too old")
        if not 0 <= index < 8 * len(entry.bits):
            raise StatusUnknown("the status list does not have this index")
        return bool(entry.bits[index // 8] >> index % 8 & 1)

    def _is_stale(self, entry: _Cached | None, limit_seconds: float) -> bool:
        return entry is None or self._monotonic() >= entry.fetch_again or self._age(entry) > limit_seconds

    def _age(self, entry: _Cached) -> float:
        return self._clock() - entry.complete_until

    def _newer(self, uri: str, fetched: _Cached) -> _Cached:
        """The list to use from now on. An older copy than the known one, from a cache or an attacker, is not used; of
        two of the same second, each revoked token counts.
        """
        with self._lock:
            known, entry = self._lists.get(uri), fetched
            if known is not None and known.complete_until > fetched.complete_until:
                entry = known
            elif known is not None and known.complete_until == fetched.complete_until:
                entry = fetched._replace(bits=_bitwise_or(known.bits, fetched.bits))
            self._lists[uri] = entry
            self._lists.move_to_end(uri)
            while len(self._lists) > _MAX_LISTS:
                self._lists.popitem(last=False)
        return entry

    def _fetched(self, uri: str) -> _Cached:
        if self._monotonic() < self._not_before.get(uri, 0.0):
            raise StatusUnknown("the status list could not be fetched a moment ago")
        try:
            claims = self._fetch(uri)
            status_list = claims["status_list"]
            if claims["sub"] != uri or status_list["bits"] != 1 or claims["exp"] <= self._clock():
                raise StatusUnknown("the status list is another one, or has expired")
            return _Cached(
                _inflated(status_list["lst"]), float(claims["iat"]), self._monotonic() + float(claims["ttl"]) / 2
            )
        except (OSError, ValueError, KeyError, TypeError, Malformed) as error:
            if len(self._not_before) >= _MAX_LISTS:
                self._not_before.clear()
            self._not_before[uri] = self._monotonic() + _AGAIN_SECONDS
            raise StatusUnknown(f"the status list cannot be fetched: {error}") from None


def _bitwise_or(one: bytes, other: bytes) -> bytes:
    return bytes(a | b for a, b in zip_longest(one, other, fillvalue=0))


def _inflated(text: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        bits = inflater.decompress(decoded(text), MAX_BYTES)
    except zlib.error:
        raise ValueError("the list is not compressed by DEFLATE") from None
    if not inflater.eof:
        raise ValueError("the list is too large")
    return bits
