"""Abandons work whose client has disconnected, where nothing is lost by that.

A request declares when it waits for work that only its client needs. Everywhere else a disconnect changes nothing: an
event on its way to the record is still recorded. Abandoned work is a refusal like any other, and is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_WAITING: Final[dict[asyncio.Task[Any], Callable[[], object]]] = {}
"""The functions that abandon the work that tasks wait for. An entry exists as long as the wait."""


@contextmanager
def abandonable(give_up: Callable[[], object]) -> Iterator[None]:
    """While the current task is in this block, `abandon` calls `give_up`."""
    task = asyncio.current_task()
    assert task is not None
    _WAITING[task] = give_up
    try:
        yield
    finally:
        del _WAITING[task]


def abandon(task: asyncio.Task[Any]) -> None:
    """Called when no client waits for this task any more."""
    give_up = _WAITING.get(task)
    if give_up is not None:
        give_up()
