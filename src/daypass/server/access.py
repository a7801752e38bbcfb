"""Follows access requests and grants in the background: ends what time or a change has ended."""

from __future__ import annotations

import asyncio

from daypass.domain.errors import DaypassError
from daypass.observability import logs
from daypass.observability.metrics import Metrics
from daypass.operations.access_requests.sweep import Sweeper
from daypass.ports import Env


async def follow(env: Env, metrics: Metrics, seconds: float) -> None:
    """Sweeps every `seconds` until it is cancelled. A sweep that fails is tried again."""
    sweeper = Sweeper(env)
    while True:
        await asyncio.sleep(seconds)
        try:
            swept = await sweeper.sweep()
        except DaypassError as error:
            logs.get().warning("access.sweep_failed", **error.private)
        except Exception:  # noqa: BLE001  # the loop must continue; a grant is checked at its use anyway
            logs.get().error("access.sweep_broken", exc_info=True)
        else:
            metrics["daypass_grants_open"].set(swept.open)
