"""Processor time, for tests that say that something is cheap. Never the time of a clock on a wall: others use the machine."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_cpu_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least processor time of this thread that one of some rounds takes.

    A garbage collection in between, a first call, or a neighbour on the same core only add to one of them.
    """
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return min(spent)
