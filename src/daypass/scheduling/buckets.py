"""Turns and token buckets: work in slices on the event loop, and rates by key in bounded memory.

A bucket is one number: the time at which it will be full again (the generic cell rate algorithm). Keys are kept in two
generations; when the younger one is full the older one is forgotten, so many distinct keys cost neither memory nor
time.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from daypass.domain.arn import Source
from daypass.scheduling.threads import FairQueue

_KEYS: Final = 50_000  # of one generation
CERTIFICATES: Final = 1_000
CERTIFICATE_SECONDS: Final = 43_200
"""A principal gets so many certificates in this time, so that it alone does not fill the lists of its account."""
_ROUNDING: Final = 1e-6  # seconds: sums of fractions are not exact


class Buckets:
    """Buckets that fill at the same rate. For one thread.

    Args:
        rate: tokens a second; 0: nothing is ever refused.
        burst: tokens of a full bucket.
    """

    __slots__ = ("_burst", "_monotonic", "_older", "_seconds", "_younger")

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = 1 / rate if rate else 0.0  # for each token
        self._burst = burst * self._seconds + _ROUNDING
        self._monotonic = monotonic
        self._younger: dict[str, float] = {}
        self._older: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def take(self, key: str, tokens: float = 1.0) -> bool:
        """Takes tokens if there are enough. Returns whether there were."""
        if not self._seconds:
            return True
        now = self._monotonic()
        known = self._younger.get(key)
        full = self._older.get(key, 0.0) if known is None else known
        full = max(full, now)
        full += min(tokens * self._seconds, self._burst - _ROUNDING)  # a full bucket is enough for any request
        if full - now > self._burst:
            return False
        self._younger[key] = full
        if known is None and len(self._younger) >= _KEYS:
            self._older, self._younger = self._younger, {}
        return True

    def is_empty(self, key: str) -> bool:
        """Whether not even one token is left."""
        full = self._younger.get(key) or self._older.get(key, 0.0)
        return bool(self._seconds) and full + self._seconds - self._monotonic() > self._burst


class RequestRates:
    """The buckets of principals, accounts and networks.

    Args:
        principal, account, source: (tokens a second, tokens of a full bucket).
        observe: called for each refusal with "principal", "account" or "source".
    """

    def __init__(
        self,
        principal: tuple[float, float],
        account: tuple[float, float],
        source: tuple[float, float],
        observe: Callable[[str], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certificates = Buckets(CERTIFICATES / CERTIFICATE_SECONDS, CERTIFICATES, monotonic)
        self._principals = Buckets(*principal, monotonic)
        self._accounts = Buckets(*account, monotonic)
        self._sources = Buckets(*source, monotonic)
        self._observe = observe

    def charge(self, source: Source, tokens: float) -> str:
        """Charges an authenticated principal and its account. Returns "", or which of them is over its rate
        ("principal", "account").
        """
        if not self._principals.take(source.principal, tokens):
            self._observe("principal")
            return "principal"
        if not self._accounts.take(source.account, tokens):
            self._observe("account")
            return "account"
        return ""

    def charge_certificate(self, principal: str) -> bool:
        """Charges a principal for a certificate. Returns whether it has had too many."""
        return not self._certificates.take(principal)

    def charge_network(self, source: Source, tokens: float = 1.0) -> bool:
        """Charges a network for an unauthenticated request. Returns whether it is over its rate."""
        if self._sources.take(source.network, tokens):
            return False
        self._observe("source")
        return True

    def is_network_exhausted(self, source: Source) -> bool:
        """Whether a network has no token left for unauthenticated requests."""
        if not self._sources.is_empty(source.network):
            return False
        self._observe("source")
        return True


# --- Slices


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
