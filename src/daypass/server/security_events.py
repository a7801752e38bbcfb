"""Queues and pushes security events in the background: at once after a revocation, and what is due every second.

Each stream is pushed by a task of its own, so that a slow receiver delays neither other streams nor the queueing. An
account has only some of the tasks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from daypass.domain.directory import EventStream
from daypass.domain.errors import DaypassError
from daypass.observability import logs
from daypass.operations.ssf.push import due_streams, push_stream
from daypass.operations.ssf.queue import queue_revocations
from daypass.ports import Env

AT_ONCE: Final = 16
"""Streams that a process pushes at once."""
AT_ONCE_OF_ACCOUNT: Final = 4
_SECONDS: Final = 1.0


async def follow(env: Env) -> None:
    """Works until it is cancelled or the server stops. What fails is tried again a second later. Without a public URL
    streams do not exist, so do not start it.
    """
    queued, failures, pushes = -1, _Failures(), Pushes(env)
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


class _Failures:
    """Reports failures. An outage is reported once."""

    def __init__(self) -> None:
        self._failing = False

    def report(self, error: Exception) -> None:
        if not isinstance(error, DaypassError):
            logs.get().error("security_events.broken", exc_info=error)
        elif not self._failing:
            logs.get().warning("security_events.failed", **error.private)
            self._failing = True

    def ended(self) -> None:
        self._failing = False


class Pushes:
    """The streams that this process pushes now, each in a task."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._failures = _Failures()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._of_account: Counter[str] = Counter()

    async def start_due(self) -> None:
        """Starts to push streams that are due, as far as there is room. Raises DaypassError(UNAVAILABLE)."""
        for stream in await due_streams(self._env):
            if len(self._tasks) >= AT_ONCE:
                return
            if stream.id not in self._tasks and self._of_account[stream.account] < AT_ONCE_OF_ACCOUNT:
                self._of_account[stream.account] += 1
                self._tasks[stream.id] = asyncio.create_task(self._push(stream))

    async def _push(self, stream: EventStream) -> None:
        try:
            await push_stream(self._env, stream)
            self._failures.ended()
        except Exception as error:  # noqa: BLE001  # the events are in the database; the stream is due again
            self._failures.report(error)
        finally:
            del self._tasks[stream.id]
            self._of_account[stream.account] -= 1
            if not self._of_account[stream.account]:
                del self._of_account[stream.account]

    async def stop(self) -> None:
        """Cancels the tasks. What was sent and not written down is sent again."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
