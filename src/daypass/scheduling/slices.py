"""Turns of work that runs in slices on the event loop: one slice in each iteration, and accounts take turns.

Work that only lets the others go on between its slices delays them all the same when much of it is in progress: then
each iteration runs a slice of all of it (attack A236).
"""

from __future__ import annotations

import asyncio
from typing import Final

from daypass.scheduling.fair_queue import FairQueue

_MOST_OF_ACCOUNT: Final = 1_000  # slices that wait; an account has one for each of its requests


class Slices:
    """The slices that wait for their turn in one process."""

    def __init__(self) -> None:
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(_MOST_OF_ACCOUNT)
        self._scheduled = False

    async def turn(self, account: str) -> None:
        """Returns when the caller may run one slice, of a few milliseconds at most; in a later iteration of the event
        loop. Raises DaypassError(THROTTLED) when too much of the account waits.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.put(account, turn)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next)
        await turn

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.take()
            if not turn.done():  # its request may have ended
                turn.set_result(None)
                break
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._next)
