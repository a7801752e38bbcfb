"""Work of one kind, of all requests of an iteration of the event loop, one after the other.

A signature is verified in half the time when what that needs, such as the tables of a curve, is still in the processor's
cache from the last one.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class InTurn(Generic[T]):
    """For one event loop. `do` may be called for as many requests at once as the server begins in an iteration."""

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
