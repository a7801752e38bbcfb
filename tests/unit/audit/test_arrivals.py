"""Events on their way to the writer: how long a batch lingers, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from daypass.audit.batch import JournalItem
from daypass.audit.queue import MAX_EVENTS, Arrivals


class Iterations:
    """An event loop that runs one iteration when it is told to."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def run_one(self) -> None:
        due, self._due = self._due, []
        for callback in due:
            callback()

    @property
    def scheduled(self) -> int:
        return len(self._due)


class Writer:
    """Remembers the numbers of the events of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.encoded: list[list[int]] = []

    def encode(self, items: Sequence[JournalItem]) -> None:
        self.encoded.append([cast("int", item) for item in items])

    def put(self, items: Sequence[JournalItem]) -> None:
        self.batches.append([cast("int", item) for item in items])


@pytest.fixture
def loop() -> Iterations:
    return Iterations()


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def arrivals(loop: Iterations, writer: Writer) -> Arrivals:
    return Arrivals(cast("asyncio.AbstractEventLoop", loop), writer.encode, writer.put)


def add(arrivals: Arrivals, numbers: range) -> None:
    for number in numbers:
        arrivals.add(cast("Any", number))


def test_add_first_events_are_handed_over_in_the_next_iteration(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    add(arrivals, range(3))
    assert writer.batches == []
    loop.run_one()
    assert writer.batches == [[0, 1, 2]]
    assert loop.scheduled == 0


def test_add_while_the_writer_is_busy_waits_for_its_answer(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    add(arrivals, range(3))
    loop.run_one()
    add(arrivals, range(3, 5))
    assert loop.scheduled == 0
    arrivals.answered(5)
    add(arrivals, range(5, 8))  # the next requests of those who were answered
    loop.run_one()
    assert writer.batches[1:] == [[3, 4, 5, 6, 7]]
    assert loop.scheduled == 0


def test_answered_batch_lingers_until_as_many_as_before_are_here(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    arrivals.answered(30)
    for start in (0, 10, 20):
        assert writer.batches == []
        add(arrivals, range(start, start + 10))
        loop.run_one()
    assert writer.batches == [list(range(30))]
    assert loop.scheduled == 0


def test_answered_batch_lingers_over_a_few_iterations_that_add_nothing(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    arrivals.answered(32)
    add(arrivals, range(2))
    for _ in range(4 + 2):
        loop.run_one()
        assert writer.batches == []
    loop.run_one()
    assert writer.batches == [[0, 1]]
    assert loop.scheduled == 0


def test_add_full_batch_is_handed_over_at_once(loop: Iterations, writer: Writer, arrivals: Arrivals) -> None:
    add(arrivals, range(MAX_EVENTS))
    assert writer.batches == [list(range(MAX_EVENTS))]
    loop.run_one()
    add(arrivals, range(MAX_EVENTS))  # the writer is busy
    assert writer.batches[1:] == [list(range(MAX_EVENTS))]


def test_add_trickle_is_handed_over_after_a_bounded_number_of_iterations(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    arrivals.answered(100)
    iterations = 0
    while not writer.batches:
        add(arrivals, range(1))
        loop.run_one()
        iterations += 1
    assert iterations == 32


def test_flush_hands_over_what_is_here_and_the_pending_look_finds_nothing(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    add(arrivals, range(2))
    arrivals.flush()
    assert writer.batches == [[0, 1]]
    loop.run_one()
    assert writer.batches == [[0, 1]]
    arrivals.answered(2)
    add(arrivals, range(2))
    loop.run_one()
    assert writer.batches == [[0, 1], [0, 1]]


def add_work(arrivals: Arrivals, numbers: range, done: list[int]) -> None:
    for number in numbers:
        arrivals.add(cast("Any", number), lambda number=number: done.append(number))  # type: ignore[misc]  # a default


def test_work_for_the_meantime_begins_when_the_writer_says_so(loop: Iterations, arrivals: Arrivals) -> None:
    done = list[int]()
    add_work(arrivals, range(40), done)
    assert not arrivals.has_work
    loop.run_one()
    assert arrivals.has_work  # the events were handed over
    assert (done, loop.scheduled) == ([], 0)
    arrivals.work()
    counts = [len(done)]
    while loop.scheduled:
        loop.run_one()
        counts.append(len(done))
    assert counts == [16, 32, 40]
    assert done == list(range(40))
    assert not arrivals.has_work


def test_work_for_the_meantime_that_fails_leaves_the_rest_to_be_done(loop: Iterations, arrivals: Arrivals) -> None:
    done = list[int]()

    def fail() -> None:
        raise ValueError

    for work in (fail, lambda: done.append(1)):
        arrivals.add(cast("Any", 0), work)
    loop.run_one()
    arrivals.work()
    assert done == [1]
    assert loop.scheduled == 0


def test_work_for_the_meantime_of_several_batches_is_done_in_order(loop: Iterations, arrivals: Arrivals) -> None:
    done = list[int]()
    add_work(arrivals, range(2 * MAX_EVENTS), done)
    arrivals.work()
    while loop.scheduled:
        loop.run_one()
    assert done == list(range(2 * MAX_EVENTS))


def test_work_for_the_meantime_that_no_writer_began_ends_after_its_answer(loop: Iterations, arrivals: Arrivals) -> None:
    done = list[int]()
    add_work(arrivals, range(3), done)
    loop.run_one()
    arrivals.answered(3)
    loop.run_one()
    assert done == [0, 1, 2]
    assert (arrivals.has_work, loop.scheduled) == (False, 0)


def test_add_rows_are_made_for_sixteen_events_at_a_time_and_each_once(
    loop: Iterations, writer: Writer, arrivals: Arrivals
) -> None:
    add(arrivals, range(15))
    assert writer.encoded == []
    add(arrivals, range(15, 40))
    assert writer.encoded == [[*range(16)], [*range(16, 32)]]
    arrivals.flush()
    assert writer.encoded[2:] == [[*range(32, 40)]]
    assert writer.batches == [[*range(40)]]
    add(arrivals, range(40, 40 + MAX_EVENTS))
    assert [number for numbers in writer.encoded for number in numbers] == [*range(40 + MAX_EVENTS)]
    assert writer.batches[1:] == [[*range(40, 40 + MAX_EVENTS)]]
