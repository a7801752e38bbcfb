"""Turns of work that runs in slices on the event loop: accounts take turns, and slices have at most half of the time.

Work that only lets the others go on between its slices delays them all the same when much of it is in progress: then
each iteration runs a slice of all of it (attack A236). A small request needs about ten iterations and the journal's
writer, so with a slice in each iteration it waits for ten slices (attack A305).
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from daypass.scheduling.threads import FairQueue

T = TypeVar("T")

_LEAST_SECONDS: Final = 0.001  # from the end of a slice to the next one
_MAX_OF_ACCOUNT: Final = 1_000  # slices that wait; an account has one for each of its requests


class Slices:
    """The slices that wait for their turn in one process."""

    def __init__(self) -> None:
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(_MAX_OF_ACCOUNT)
        self._scheduled = False

    async def begin(self, account: str) -> None:
        """As `turn`, for the first slice of a request: it comes when all that the account has begun wait for something
        else. A thousand questions are a hundred thousand objects, so that few requests should have them at once.
        """
        await self._turn(account, first=True)

    async def turn(self, account: str) -> None:
        """Returns when the caller may run one slice, of a few milliseconds at most; in a later iteration of the event
        loop. Raises DaypassError(THROTTLED) when too much of the account waits.
        """
        await self._turn(account, first=False)

    async def _turn(self, account: str, *, first: bool) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.put(account, turn, ahead=not first)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next)
        await turn

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.take()
            if not turn.done():  # its request may have ended
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._ended, time.monotonic())
                return
        self._scheduled = False

    def _ended(self, began: float) -> None:
        """The slice that began then has run. The next one comes after as long a time."""
        pause = max(time.monotonic() - began, _LEAST_SECONDS)
        asyncio.get_running_loop().call_later(pause, self._next)


# --- Shares one run of a job among all callers that request it before it begins


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


class TickBatcher(Generic[T]):
    """Batches work of one kind per iteration of the event loop. Use it from one loop.

    A signature is verified in half the time when what that needs, such as the tables of a curve, is still in the
    processor's cache from the last one.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], T], Future[T]]] = []

    async def do(self, work: Callable[[], T]) -> T:
        """Does the work in the next iteration. It should return its errors: a raised one is a cycle with its future."""
        loop = asyncio.get_running_loop()
        future: Future[T] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._run)
        self._waiting.append((work, future))
        return await future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for work, future in waiting:
            if future.done():  # its request was cancelled
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - it is raised in its request
                future.set_exception(error)
