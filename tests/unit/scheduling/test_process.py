"""A worker process that hangs holds up nothing but the caller that waits for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from daypass.scheduling.process import Abandoned, WorkerDied, WorkerProcess

MUCH = b"x" * 1_000_000  # more than a pipe holds
_ECHO = """
import sys
from daypass.scheduling.process import read_message, write_message
requests, answers = open(0, "rb", buffering=0, closefd=False), open(1, "wb", buffering=0, closefd=False)
setup = read_message(requests)
write_message(answers, b"")
while True:
    write_message(answers, setup + read_message(requests))
"""
_HALF = """
import struct, sys, time
sys.stdout.buffer.write(struct.pack(">QQ", 0, 1_000_000) + b"the first bytes")
sys.stdout.buffer.flush()
time.sleep(600)
"""


_DEAF = """
import sys, time
sys.stdout.buffer.write(bytes(8))
sys.stdout.buffer.flush()
time.sleep(600)
"""
_SLOW_START = (
    """
import time
time.sleep(1.5)
"""
    + _ECHO
)


@pytest.fixture
def process() -> Iterator[Callable[..., WorkerProcess]]:
    made: list[WorkerProcess] = []

    def make(*command: str) -> WorkerProcess:
        made.append(WorkerProcess(command, b"setup "))
        return made[-1]

    yield make
    for one in made:
        one.close()


def outcome(worker: WorkerProcess, request: bytes) -> object:
    """The result of a thread whose caller leaves; None if it still waits after half a minute."""
    found: list[object] = []
    looks = iter([False])

    def ask() -> None:
        try:
            found.append(worker.ask(request, lambda: next(looks, True)))
        except (Abandoned, WorkerDied) as error:
            found.append(type(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(30)
    return found[0] if found else None


def test_ask_returns_large_answers_to_large_requests(process: Callable[..., WorkerProcess]) -> None:
    with closing(process(sys.executable, "-c", _ECHO)) as worker:
        for request in (b"", MUCH, b"small"):
            assert worker.ask(request, lambda: False) == b"setup " + request


@pytest.mark.parametrize("request_size", [1, len(MUCH)])
def test_a113_ask_of_a_process_that_does_not_read_ends_when_the_caller_has_gone(
    process: Callable[..., WorkerProcess], request_size: int
) -> None:
    worker = process(sys.executable, "-c", _DEAF)
    assert outcome(worker, MUCH[:request_size]) is Abandoned
    assert worker.pid == 0


def test_a113_ask_of_a_process_that_stops_in_an_answer_ends_when_the_caller_has_gone(
    process: Callable[..., WorkerProcess],
) -> None:
    assert outcome(process(sys.executable, "-c", _HALF), b"x") is Abandoned


def test_ask_of_a_process_that_ends_says_so_and_the_next_call_starts_another(
    process: Callable[..., WorkerProcess],
) -> None:
    worker = process("true")
    for _ in range(2):
        with pytest.raises(WorkerDied):
            worker.ask(MUCH, lambda: False)


def test_ask_whose_caller_goes_while_the_process_starts_leaves_a_process_for_the_next(
    process: Callable[..., WorkerProcess],
) -> None:
    worker = process(sys.executable, "-c", _SLOW_START)
    with pytest.raises(Abandoned):
        worker.ask(b"first", lambda: True)
    started = worker.pid
    assert started
    assert worker.ask(b"second", lambda: False) == b"setup second"
    assert worker.pid == started
