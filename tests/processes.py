"""Processes of a test that must not outlive it, even when the test run is killed, and ports for them."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

_SETPRIV = shutil.which("setpriv")


def bound(command: Sequence[str], signal: str = "TERM") -> list[str]:
    """The command, to which the kernel sends `signal` when the process that starts it ends.

    An interactive shell needs HUP, which it passes on to its jobs. Without setpriv (Linux has it) the command is as it was.
    """
    return [_SETPRIV, "--pdeathsig", signal, *command] if _SETPRIV else list(command)


def until_listening(process: subprocess.Popen[bytes], port: int, host: str = "127.0.0.1") -> None:
    """Returns when the program that was started takes connections; fails if it has ended."""
    for _ in range(1200):  # only a failure waits so long
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        assert process.poll() is None, f"{process.args!r} has ended"
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} does not listen at {port}")


def free_port() -> int:
    """See `free_ports`."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Below those that systems give to clients, one of which may take a port before its server does. SeaweedFS also takes the
    port 10,000 above each.
    """
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(range(12_000, 22_700), 1_000):
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"there are no {count} free ports")
