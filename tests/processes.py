"""Processes of a test that must not outlive it, even when the test run is killed, and ports for them."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from contextlib import ExitStack

_SETPRIV = shutil.which("setpriv")


def bound(command: Sequence[str], signal: str = "TERM") -> list[str]:
    """The command, to which the kernel sends `signal` when the process that starts it ends.

    An interactive shell needs HUP, which it passes on to its jobs. Without setpriv (Linux has it) the command is as it was.
    """
    return [_SETPRIV, "--pdeathsig", signal, *command] if _SETPRIV else list(command)


def free_ports(count: int) -> list[int]:
    """SeaweedFS takes each port and the one 10,000 above it, which is above those that systems give out by themselves."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            if 51_000 <= port < 55_000:
                ports.append(port)
        return ports
