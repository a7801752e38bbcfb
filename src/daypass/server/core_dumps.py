"""Disables core dumps: keys and secrets must not end in a core file, nor in one that the system pipes to a collector."""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def disable_core_dumps() -> None:
    """For this process. Call it again in a new program: the second setting does not survive exec.

    The limit alone does not stop a dump that is piped to a program (core(5)); Linux's `PR_SET_DUMPABLE` does, and also
    keeps other processes of the same user from reading the memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
