"""A program on a pseudo-terminal, as a person has it: type, and wait for what appears."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tests.processes import bound

ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>])")
_DEADLINE = 60.0  # seconds: only a failure waits so long


def _attach() -> None:
    """Makes the standard input the controlling terminal. A test run in the background ignores signals that a terminal
    sends, and its children would, too.
    """
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """Runs a command with a terminal of its own as its standard input, output and error. Use it as a context manager."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            bound(command, "HUP"), stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True,
            preexec_fn=_attach,  # noqa: PLW1509  # a few system calls
        )  # fmt: skip
        os.close(slave)
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def shown(self) -> str:
        """All that has appeared, without the sequences that colour it and move the cursor."""
        return ESCAPES.sub("", self.raw).replace("\r", "")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str, times: int = 1) -> None:
        """Returns when `text` has appeared so often."""
        ends = time.monotonic() + _DEADLINE
        while self.shown.count(text) < times:
            assert time.monotonic() < ends, f"{text!r} did not appear in {self.shown!r}"
            assert self.read(), f"the program ended; {text!r} is not in {self.shown!r}"

    def status(self) -> int:
        """The exit status, once the program has ended."""
        ends = time.monotonic() + _DEADLINE
        while self.read():
            assert time.monotonic() < ends, self.shown
        return self.process.wait(_DEADLINE)

    def interrupt(self) -> int:
        """Types Ctrl-C until the program has ended, as a person does; returns the exit status.

        Python's `input` writes its prompt before it blocks in read(2). A signal between the two only sets a flag,
        so the first Ctrl-C after a prompt may have no effect until the next key.
        """
        ends = time.monotonic() + _DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < ends, self.shown
            self.type("\x03")
            while select.select([self._master], [], [], 1.0)[0] and self.read():
                pass
        return self.status()

    def read(self) -> bool:
        """Whether there may be more."""
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return self.process.poll() is None
        data = b""
        with contextlib.suppress(OSError):  # Linux's way to say that nobody has the other end open
            data = os.read(self._master, 65_536)
        self.raw += data.decode("utf-8", "replace")
        for question, answer in (("\x1b[c", "\x1b[?62;22c"), ("\x1b[0c", "\x1b[?62;22c"), ("\x1b[6n", "\x1b[1;1R")):
            if question.encode() in data:  # as a terminal answers a shell that asks what it can do
                self.type(answer)
        return bool(data)
