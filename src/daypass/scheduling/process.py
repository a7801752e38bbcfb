"""A child process that does one piece of work at a time, for the thread that owns it.

Requests and answers are length-prefixed bytes over its standard input and output. It is started on first use, and again
after it has exited or has been killed because no caller waited for its answer. Its first message says that it has
started. Until then it is not killed when its caller no longer waits: on a busy machine a start takes longer than a caller waits,
and if each caller's start were undone, none would ever succeed.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
from collections.abc import Callable, Sequence
from typing import IO, Final, Protocol

_LENGTH: Final = struct.Struct(">Q")
_POLL_SECONDS: Final = 0.1  # between two checks whether the caller still waits
_START_LOOKS: Final = 1200  # a process that has not started by then never will
_GRACE_LOOKS: Final = 5  # a new process costs about half a second, so one that is nearly done may finish
_CHUNK: Final = 1 << 16


class WorkerDied(Exception):
    """The process ended without an answer."""


class Abandoned(Exception):
    """No caller waited for the answer. The process was killed, unless it had no work yet."""


class WorkerProcess:
    """The process. It is not safe to share between threads."""

    def __init__(self, command: Sequence[str], setup: bytes) -> None:
        self._command = command
        self._setup = setup
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> subprocess.Popen[bytes]:
        """The process, once it has started. Raises WorkerDied."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        # Secrets come by the settings' variables; this process needs none of them. A session of its own: a terminal's
        # interrupt is for the server, which ends it.
        environment = {name: text for name, text in os.environ.items() if not name.startswith("DAYPASS_")}
        process = subprocess.Popen(  # noqa: S603  # the server's own command
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            write_message(process.stdin, self._setup)
            read_message(_PolledPipe(process.stdout, select.POLLIN, _WaitLimit(lambda: True, _START_LOOKS)))
        except (OSError, EOFError, _WaitEnded):
            self.close()
            raise WorkerDied from None
        return process

    def ask(self, request: bytes, abandoned: Callable[[], bool]) -> bytes:
        """The answer. Raises WorkerDied or Abandoned; the next call starts another process then.

        A process that does not read, or stops in the middle of an answer, holds up the caller only until it has given
        up.
        """
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        limit = _WaitLimit(abandoned, _GRACE_LOOKS)
        if abandoned():
            raise Abandoned
        try:
            write_message(_PolledPipe(process.stdin, select.POLLOUT, limit), request)
            return read_message(_PolledPipe(process.stdout, select.POLLIN, limit))
        except (OSError, EOFError):
            self.close()
            raise WorkerDied from None
        except _WaitEnded:
            self.close()
            raise Abandoned from None

    def kill(self) -> None:
        """Kills the process, if there is one. Any thread may call this; `ask` then raises WorkerDied."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Kills the process, if there is one, and frees what it held."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


class _WaitEnded(Exception):
    """The caller has stopped waiting."""


class _WaitLimit:
    """`ask` waits as long as the caller does, and for a number of polls after that."""

    def __init__(self, abandoned: Callable[[], bool], polls: int) -> None:
        self._abandoned = abandoned
        self._most = polls
        self._polls = 0

    def wait(self, poll: select.poll) -> None:
        """Returns when the stream is ready. Raises _WaitEnded."""
        while not poll.poll(_POLL_SECONDS * 1000):
            self._polls = self._polls + 1 if self._abandoned() else 0
            if self._polls > self._most:
                raise _WaitEnded


class _PolledPipe:
    """A pipe to or from the process; each read and write waits until the pipe is ready, with `limit`.

    It reads as much as there is, because each wait gives up the interpreter lock. Nothing follows an answer.
    """

    def __init__(self, stream: IO[bytes], event: int, limit: _WaitLimit) -> None:
        self._file = stream.fileno()
        self._limit = limit
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(self._file, event)
        os.set_blocking(self._file, False)

    def write(self, data: memoryview) -> int:
        self._limit.wait(self._poll)
        try:
            return os.write(self._file, data[:_CHUNK])
        except BlockingIOError:  # less room than poll has said
            return 0

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._limit.wait(self._poll)
            self._rest = os.read(self._file, _CHUNK)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: memoryview, /) -> int: ...


def write_message(stream: _Writable, message: bytes) -> None:
    """Writes all of it. Raises OSError when the other side is gone."""
    view = memoryview(_LENGTH.pack(len(message)) + message)
    while view:
        view = view[stream.write(view) :]


def read_message(stream: _Readable) -> bytes:
    """One message. Raises EOFError when the stream ends before it does."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: _Readable, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = stream.read(min(size, _CHUNK))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def ready() -> None:
    """Work that does nothing: it is done when the process has started."""
