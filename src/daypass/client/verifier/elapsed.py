"""A clock for ages: it never goes back, and it also counts the time in which the machine is suspended."""

from __future__ import annotations

import time
from typing import Final

# On Linux and macOS `time.monotonic` stands still while the machine sleeps, and what was known before would look current.
# There, CLOCK_MONOTONIC counts that time in macOS, and CLOCK_BOOTTIME in Linux.
_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def elapsed() -> float:
    """Seconds since some moment."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
