"""Status lists: whether a token is revoked according to its issuer's list (draft-ietf-oauth-status-list)."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from daypass.client.verifier.keys import Malformed, decoded

TYPE: Final = "statuslist+jwt"
MAX_BYTES: Final = 1_048_576
"""Of a list, before compression."""
_MAX_LISTS: Final = 256


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
        self._lock = threading.Lock()

    def is_revoked(self, uri: str, index: int, limit_seconds: float) -> bool:
        """The status in a list that is complete until `limit_seconds` ago, at least. Raises StatusUnknown."""
        with self._lock:
            found = self._lists.get(uri)
            if found is None or self._monotonic() >= found.fetch_again or self._age(found) > limit_seconds:
                found = self._fetched(uri)
            self._lists.move_to_end(uri)
        if self._age(found) > limit_seconds:
            raise StatusUnknown("the status list is too old")
        if not 0 <= index < 8 * len(found.bits):
            raise StatusUnknown("the status list does not have this index")
        return bool(found.bits[index // 8] >> index % 8 & 1)

    def _age(self, found: _Cached) -> float:
        return self._clock() - found.complete_until

    def _fetched(self, uri: str) -> _Cached:
        try:
            claims = self._fetch(uri)
            held = claims["status_list"]
            if claims["sub"] != uri or held["bits"] != 1 or claims["exp"] <= self._clock():
                raise StatusUnknown("the status list is another one, or has expired")
            found = _Cached(_inflated(held["lst"]), float(claims["iat"]), self._monotonic() + float(claims["ttl"]) / 2)
        except (OSError, ValueError, KeyError, TypeError, Malformed) as error:
            raise StatusUnknown(f"the status list cannot be fetched: {error}") from None
        self._lists[uri] = found
        while len(self._lists) > _MAX_LISTS:
            self._lists.popitem(last=False)
        return found


def _inflated(text: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        bits = inflater.decompress(decoded(text), MAX_BYTES)
    except zlib.error:
        raise ValueError("the list is not compressed by DEFLATE") from None
    if not inflater.eof:
        raise ValueError("the list is too large")
    return bits
