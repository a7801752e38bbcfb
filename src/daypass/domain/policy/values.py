"""Parses the values that conditions compare: numbers, dates, addresses, binaries, ARNs.

Each parser returns a value that can be compared, or None when the text is not valid. None of them raises.
Source: IAM User Guide, "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from daypass.domain.policy.pattern import Fixed, Glob, Wild

_LONGEST_ADDRESS = 45  # characters: IPv6 with its last four bytes in IPv4 form

_DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_EPOCH = re.compile(r"[0-9]{1,19}")
_DATE = re.compile(
    r"(?P<year>-?[0-9]{1,9})(?:-(?P<month>[0-9]{1,2})(?:-(?P<day>[0-9]{1,2}))?)?"
    r"(?:[tT](?:(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{1,2})(?::(?P<second>[0-9]{1,2})(?:\.(?P<fraction>[0-9]{1,9}))?)?)?"
    r"(?P<zone>[zZ]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?)?"
)
_MAX_EPOCH = 2**63 - 1
_MAX_YEAR = 292_278_993  # the range of years in AWS's date type
_MIN_YEAR = -292_275_054
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NANO = 10**9


def number(text: str) -> Decimal | None:
    """An integer or decimal, exactly; no exponents, no infinities."""
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def date(text: str) -> int | None:
    """Nanoseconds since the epoch from a W3C ISO 8601 date (UTC where no zone is given) or from epoch seconds."""
    if _EPOCH.fullmatch(text):
        seconds = int(text)
        return seconds * _NANO if seconds <= _MAX_EPOCH else None
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    part = {name: int(match[name] or default) for name, default in _PARTS.items()}
    zone = _zone(match["zone"])
    if zone is None or not _in_range(part):
        return None
    minutes = part["hour"] * 60 + part["minute"] - zone
    seconds = (_days(part["year"], part["month"], part["day"]) * 1440 + minutes) * 60 + part["second"]
    return seconds * _NANO + int((match["fraction"] or "").ljust(9, "0"))


_PARTS = {"year": "0", "month": "1", "day": "1", "hour": "0", "minute": "0", "second": "0"}


def _in_range(part: dict[str, int]) -> bool:
    if not (_MIN_YEAR <= part["year"] <= _MAX_YEAR and 1 <= part["month"] <= 12):
        return False
    leap = part["year"] % 4 == 0 and (part["year"] % 100 != 0 or part["year"] % 400 == 0)
    days = _MONTH_DAYS[part["month"] - 1] - (part["month"] == 2 and not leap)
    return 1 <= part["day"] <= days and part["hour"] <= 23 and part["minute"] <= 59 and part["second"] <= 59


def _zone(text: str | None) -> int | None:
    """The offset in minutes; None when it is out of range."""
    if text is None or text in ("z", "Z"):
        return 0
    hours, minutes = int(text[1:3]), int(text[3:].removeprefix(":") or "0")
    if hours > 23 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if text[0] == "-" else 1)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the proleptic Gregorian calendar. The year starts in March, so that leap days come last."""
    if month <= 2:
        year, month = year - 1, month + 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469


def boolean(text: str) -> bool | None:
    """`true` or `false`, in any case."""
    return {"true": True, "false": False}.get(text.lower()) if text.isascii() else None


def binary(text: str) -> bytes | None:
    """The bytes that canonical base64 encodes."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode("ascii") == text else None


class Network(NamedTuple):
    """Addresses of one version whose bits under `mask` equal `bits`."""

    version: int
    bits: int
    mask: int


def address(text: str) -> tuple[int, int] | None:
    """(version, number) of an IP address. An IPv4-mapped IPv6 address becomes the IPv4 address (attack A48)."""
    return _address(text) if len(text) <= _LONGEST_ADDRESS and "%" not in text else None


@lru_cache(maxsize=4096)  # parsing one costs as much as a whole decision, and clients repeat
def _address(text: str) -> tuple[int, int] | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.version, int(parsed)


def network(text: str) -> Network | None:
    """A CIDR block or one address. Host bits may be set, as in AWS."""
    plain, slash, length = text.partition("/")
    base = address(plain)
    if base is None or (slash and not (length.isascii() and length.isdigit() and len(length) <= 3)):
        return None
    version, bits = base
    mapped = version == 4 and ":" in plain
    width = 32 if version == 4 else 128
    size = int(length) - (96 if mapped else 0) if slash else width
    if not 0 <= size <= width:
        return None
    mask = ((1 << size) - 1) << (width - size)
    return Network(version, bits & mask, mask)


class ArnGlob:
    """An ARN pattern: each of the six fields is matched separately, so that a star does not match a colon.

    A lone `*` matches every ARN. Any other pattern with fewer than six fields matches nothing.
    """

    __slots__ = ("_fields",)

    def __init__(self, tokens: Iterable[Fixed]) -> None:
        fields: list[list[Fixed]] = [[]]
        tokens = list(tokens)
        for token in tokens:
            parts: list[Fixed] = [*token.split(":")] if isinstance(token, str) else [token]
            for index, part in enumerate(parts):
                if index and len(fields) < 6:
                    fields.append([])
                elif index:
                    fields[-1].append(":")
                fields[-1].append(part)
        if tokens == [Wild.STAR]:
            fields = [[Wild.STAR]] * 6
        self._fields = [Glob(field) for field in fields] if len(fields) == 6 else None

    def matches(self, text: str) -> bool:
        values = text.split(":", 5)
        if self._fields is None or len(values) != 6:
            return False
        return all(field.matches(value) for field, value in zip(self._fields, values, strict=True))
