"""Which media types a request accepts (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_QUALITY = re.compile(rb"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def accepted(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, float]:
    """The weight of each media range in the Accept headers, in lower case. 0: it is not acceptable."""
    qualities: dict[bytes, float] = {}
    for name, value in headers:  # every request runs this, and most have no such header
        if name == b"accept":
            qualities |= _qualities(value.lower())
    return qualities


def _qualities(accept: bytes) -> dict[bytes, float]:
    """The weight of each media range of an Accept header."""
    qualities: dict[bytes, float] = {}
    for item in accept.split(b","):
        media_type, *parameters = item.split(b";")
        qualities[media_type.strip()] = _quality(parameters)
    return qualities


def _quality(parameters: Iterable[bytes]) -> float:
    """The weight of a media range: 1 without a `q`, 0 for one that cannot be read."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            return float(value) if _QUALITY.fullmatch(value.strip()) else 0.0
    return 1.0
