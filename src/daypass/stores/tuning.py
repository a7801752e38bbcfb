"""Advanced settings of the cached directory. No setting here can make it serve stale data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Advanced settings.

    Attributes:
        absent, absent_seconds: how many keys known not to exist are cached, and for how long.
        compiled: maximum number of cached compiled policy documents.
        poll_timeout_seconds: time limit of a poll.
        poll_spacing_seconds: minimum time between the starts of two polls, so that many refusals cannot cause constant
        polling.
        monotonic, sleep: time, for tests.
    """

    absent: int = 10_000
    absent_seconds: float = 30.0
    compiled: int = 20_000
    poll_timeout_seconds: float = 3.0
    poll_spacing_seconds: float = 0.005
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
