"""Durations and moments as people write them: `1h30m`, `3600`, `+2h`, `2026-01-31T12:00:00Z`."""

from __future__ import annotations

import re
import time
from calendar import timegm

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_PARTS = re.compile(r"(?:([0-9]{1,7})d)?(?:([0-9]{1,7})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,7})s)?")
_SECONDS = re.compile(r"[0-9]{1,9}")


def seconds_of(text: str) -> int | None:
    """Seconds of `1h30m`, `90m`, `2d` or `3600`; None when it is none of these."""
    if _SECONDS.fullmatch(text):
        return int(text)
    parts = _PARTS.fullmatch(text)
    if not text or parts is None:
        return None
    return sum(int(number or 0) * unit for number, unit in zip(parts.groups(), _UNITS.values(), strict=True))


def moment_of(text: str, now: float, other: str = "+2h") -> int:
    """Milliseconds of `2026-01-31T12:00:00Z` or `+2h`. `now` in seconds; `other`: the other form that the option takes.
    Raises UsageError.
    """
    if text.startswith("+"):
        after = seconds_of(text[1:]) if not text[1:].isdigit() else None
        if after is not None:
            return int((now + after) * 1000)
    try:
        return timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) * 1000
    except ValueError:
        from click import UsageError  # `exec` from the cache does without click

        raise UsageError(f"{text!r} is not a time: 2026-01-31T12:00:00Z, or {other}.") from None


def left(seconds: float) -> str:
    """How long something lasts, for people: 1h 05m, 12m, 40s; "expired" when it has ended."""
    whole = int(seconds)
    if whole <= 0:
        return "expired"
    if whole < 60:
        return f"{whole}s"
    hours, minutes = divmod(whole // 60, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m"
