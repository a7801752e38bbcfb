"""Queues and pushes security events in the background: at once after a revocation, and what is due every second."""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError
from daypass.observability import logs
from daypass.operations.ssf.push import push_due
from daypass.operations.ssf.queue import queue_revocations
from daypass.ports import Env

_SECONDS: Final = 1.0


async def follow(env: Env) -> None:
    """Works until it is cancelled or the server stops. What fails is tried again a second later. Without a public URL
    streams do not exist, so do not start it.
    """
    queued, failing = -1, False
    while not env.revocations.closed:
        version = env.revocations.version
        try:
            if version != queued:
                await queue_revocations(env)
                queued = version
            await push_due(env)
            failing = False
        except DaypassError as error:
            if not failing:  # an outage is logged once
                logs.get().warning("security_events.failed", **error.private)
            failing = True
        except Exception:  # noqa: BLE001  # the loop must continue; what is queued is in the database
            logs.get().error("security_events.broken", exc_info=True)
        await env.revocations.changed(version, _SECONDS)
