"""Settings of the cached directory that hardly anyone needs to touch. No setting here can make it serve what is stale."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """What hardly anyone needs to set.

    Attributes:
        absent, absent_seconds: how many keys are remembered not to exist, and for how long.
        compiled: compiled policy documents kept.
        poll_timeout_seconds: a poll that takes longer has failed.
        poll_spacing_seconds: between the beginnings of two polls, so that a flood of refusals cannot poll without pause.
        monotonic, sleep: time, for tests.
    """

    absent: int = 10_000
    absent_seconds: float = 30.0
    compiled: int = 20_000
    poll_timeout_seconds: float = 3.0
    poll_spacing_seconds: float = 0.005
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
