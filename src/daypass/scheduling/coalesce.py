"""Shares one run of a job among all callers that request it before it begins. It must never share a run that has
already begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Coalesced:
    """Runs `job` one at a time. A caller that arrives during a run waits for the next run.

    Args:
        pause: seconds between the end of a run and the next one, at least. Who calls in the pause shares that one.
    """

    def __init__(self, job: Callable[[], Awaitable[None]], pause: float = 0.0) -> None:
        self._job = job
        self._pause = pause
        self._not_before = 0.0  # time of the event loop
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Returns when a run that began after this call has ended. Raises the error of that run."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._after(self._running))
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        clock = asyncio.get_running_loop().time
        if self._pause and (left := self._not_before - clock()) > 0:
            await asyncio.sleep(left)
        self._running, self._next = self._next, None
        try:
            await self._job()
        finally:
            self._not_before = clock() + self._pause

    async def stop(self) -> None:
        """Cancels the current run and all waiting callers."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieves the result, because all waiters may have been cancelled."""
    if not task.cancelled():
        task.exception()
