"""Processes of a test that must not outlive it, even when the test run is killed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

_SETPRIV = shutil.which("setpriv")


def bound(command: Sequence[str], signal: str = "TERM") -> list[str]:
    """The command, to which the kernel sends `signal` when the process that starts it ends.

    An interactive shell needs HUP, which it passes on to its jobs. Without setpriv (Linux has it) the command is as it was.
    """
    return [_SETPRIV, "--pdeathsig", signal, *command] if _SETPRIV else list(command)
