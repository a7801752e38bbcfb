"""Queues and pushes security events in the background: at once after a revocation, and what is due every second.

Each stream is pushed by a task of its own, so that a slow receiver delays neither other streams nor the queueing. An
account has only some of the tasks.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from daypass.operations.ssf.push import due_streams, push_stream
from daypass.operations.ssf.queue import queue_revocations
from daypass.ports import Env
from daypass.server.background import AccountTasks, Failures

AT_ONCE: Final = 16
"""Streams that a process pushes at once."""
AT_ONCE_OF_ACCOUNT: Final = 4
_SECONDS: Final = 1.0


async def follow(env: Env) -> None:
    """Works until it is cancelled or the server stops. What fails is tried again a second later. Without a public URL
    streams do not exist, so do not start it.
    """
    queued, failures, pushes = -1, Failures("security_events"), Pushes(env)
    try:
        while not env.revocations.closed:
            version = env.revocations.version
            try:
                if version != queued:
                    await queue_revocations(env)
                    queued = version
                await pushes.start_due()
                failures.ended()
            except Exception as error:  # noqa: BLE001  # the loop must continue; what is queued is in the database
                failures.report(error)
            await env.revocations.changed(version, _SECONDS)
    finally:
        await pushes.stop()


class Pushes:
    """The streams that this process pushes now, each in a task."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._tasks = AccountTasks("security_events", AT_ONCE, AT_ONCE_OF_ACCOUNT)

    async def start_due(self) -> None:
        """Starts to push streams that are due, as far as there is room. Raises DaypassError(UNAVAILABLE)."""
        for stream in await due_streams(self._env):
            self._tasks.start(stream.id, stream.account, partial(push_stream, self._env, stream))

    async def stop(self) -> None:
        """Cancels the pushes."""
        await self._tasks.stop()
