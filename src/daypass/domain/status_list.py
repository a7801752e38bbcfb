"""Token status lists: one bit for each session, 1 when the session was revoked.

Source: draft-ietf-oauth-status-list, sections 4 (compressed byte array) and 5 (status list token).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from daypass.domain.jws import base64url

STATUSES: Final = 131_072
"""Statuses in one list: 16 KiB before compression."""
_BITS: Final = 8


def encode_statuses(revoked: Iterable[int], size: int) -> str:
    """The `lst` of a list with one bit for each status (section 4.2).

    Args:
        revoked: indexes with status 1 (INVALID). All others are 0 (VALID).
        size: how many statuses the list has.
    """
    data = bytearray(-(-size // _BITS))
    for index in revoked:
        data[index // _BITS] |= 1 << index % _BITS
    return base64url(zlib.compress(bytes(data), 9))


def split_index(index: int) -> tuple[int, int]:
    """The number of the list that holds a session's index, and the place in that list."""
    return divmod(index, STATUSES)
