"""Long-running work, which runs outside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class HeavyWork(Protocol):
    """Runs functions in other processes, fair by account. Unfinished work is abandoned when the caller is cancelled.

    `work` is a function of a module, its arguments and result are values that can be pickled. Both raise the
    DaypassError of `work`, and also THROTTLED (the account has too many entries in the queue) and UNAVAILABLE. `quick`
    work takes some milliseconds and has its own process, so that it never waits for work that takes seconds.
    """

    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """`work(scene, *args)`, see `ports.Scene`."""
        ...

    async def compute(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """`work(*args)`, without a database."""
        ...
