"""Processor time and garbage, for tests that say that something is cheap. Never the time of a clock on a wall: others use
the machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def least_cpu_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least processor time of this thread that one of some rounds takes.

    A garbage collection in between, a first call, or a neighbour on the same core only add to one of them.
    """
    return min(_cpu_seconds(work) for _ in range(rounds))


def costs_less_than(seconds: float, work: Callable[[], object]) -> bool:
    """Whether one of three rounds takes less processor time of this thread. Those behind it are not run."""
    return any(_cpu_seconds(work) < seconds for _ in range(3))


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """The collector runs by `gc.collect()` alone, which finds what was made since then.

    What all tests before have left is passed over: to go through it takes a quarter of a second.
    """
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
