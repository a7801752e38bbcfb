"""`daypass` in processes of their own that are forked from one which has imported what every command imports.

A new interpreter with these modules takes a tenth of a second of computing, ten times what a command itself does. What is
forked has its own environment, session, streams and end of the interpreter, as a command that a shell starts.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.processes import bound

SECONDS: Final = 60  # only a failure takes so long
_ROOT: Final = Path(__file__).parents[1]
_MODULE: Final = "daypass.cli.main"
_IMPORTED: Final = (
    "daypass.cli.app",
    "daypass.cli.iam",
    "daypass.cli.output",
    "daypass.client.http",
    "daypass.client.profiles",
)


class Commands:
    """Runs commands, one at a time. Use it as a context manager."""

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = bound([sys.executable, "-m", "tests.forked_command", str(theirs.fileno())])
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=_ROOT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()  # it ends then
        self._process.wait(SECONDS)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One command with `given` as its standard input."""
        with (
            tempfile.TemporaryFile("w+") as stdin,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            stdin.write(given)
            stdin.seek(0)
            socket.send_fds(self._socket, [b"\0"], [stream.fileno() for stream in (stdin, out, err)])
            self._socket.sendall(json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode() + b"\n")
            status = int(self._socket.recv(16))
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


def _serve(asked: socket.socket) -> None:
    """Forks for each command; returns at the end, and in the process of a command."""
    lines = asked.makefile("rb")
    while True:
        _, streams, _, _ = socket.recv_fds(asked, 1, 3)
        if not streams:
            return
        command = json.loads(lines.readline())
        child = os.fork()
        if child == 0:
            _become(*command, streams)
            runpy.run_module(_MODULE, run_name="__main__", alter_sys=True)
            return
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        asked.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(arguments: list[str], environment: dict[str, str], directory: str, streams: list[int]) -> None:
    os.setsid()  # so that nothing is asked on the terminal of whoever runs the tests
    signal.alarm(SECONDS)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


if __name__ == "__main__":
    for name in _IMPORTED:
        __import__(name)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        connection.set_inheritable(False)
        _serve(connection)
