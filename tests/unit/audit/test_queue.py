"""The writer's queue: urgent changes first, accounts in turns, batches of a bounded number of changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daypass.audit.batch import JournalItem, JournalOptions
from daypass.audit.queue import EVENTS_DIVISOR, MAX_CHANGES, TURN_SECONDS, WriterQueue
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType


def change(name: str) -> Any:
    def run(_: Any) -> tuple[str, Event]:
        raise AssertionError(name)

    run.__name__ = name
    return run


async def item(name: str) -> JournalItem:
    return JournalItem(asyncio.get_running_loop().create_future(), 0.0, None, None, change(name))


async def event(name: str) -> JournalItem:
    made = Event(EventType.REQUEST_ALLOWED, 1, request_id=name)
    it = JournalItem(asyncio.get_running_loop().create_future(), 0.0, made)
    it.encode()
    return it


def names(items: list[JournalItem]) -> list[str]:
    return [it.event.request_id if it.event is not None else it.change.__name__ for it in items]  # type: ignore[union-attr]


async def test_take_urgent_changes_come_before_the_changes_that_came_first() -> None:
    queue = WriterQueue(JournalOptions())
    for number in range(300):
        queue.put_change(await item(f"a{number}"), "111111111111", urgent=False)
    queue.put([await event("e")])
    queue.put_change(await item("revocation"), "222222222222", urgent=True)
    taken = names(queue.take(1.0))
    few = MAX_CHANGES // EVENTS_DIVISOR
    assert taken[0] == "revocation"
    assert taken[-1] == "e"
    assert len(taken) == 1 + few + 1
    assert names(queue.take(0.0)) == [f"a{number}" for number in range(few, few + MAX_CHANGES)]


async def test_take_after_slow_changes_takes_as_many_as_fit_into_a_turn() -> None:
    queue = WriterQueue(JournalOptions())
    for number in range(300):
        queue.put_change(await item(f"a{number}"), "111111111111", urgent=False)
    sizes = []
    for each in (TURN_SECONDS / 4, 2 * TURN_SECONDS, TURN_SECONDS / 1000, TURN_SECONDS / 1000):
        queue.note_changes([each] * 5)
        sizes.append(len(queue.take(0.0)))
    assert sizes == [4, 1, 2, 4]  # never none; it grows step by step
    queue.note_changes([])
    assert len(queue.take(0.0)) == 4


async def test_a307_take_has_few_changes_that_take_milliseconds_so_that_events_wait_for_few() -> None:
    queue = WriterQueue(JournalOptions())
    for number in range(300):
        queue.put_change(await item(f"a{number}"), "111111111111", urgent=False)
    for _ in range(10):
        queue.note_changes([0.005] * 5)
    queue.put([await event("e")])
    assert len(queue.take(0.0)) <= 1 + 5


async def test_a312_take_beside_events_has_a_quarter_of_the_changes_and_at_least_one() -> None:
    queue = WriterQueue(JournalOptions())
    for number in range(300):
        queue.put_change(await item(f"a{number}"), "111111111111", urgent=False)
    sizes = []
    for seconds in (TURN_SECONDS / 8, TURN_SECONDS):
        queue.note_changes([seconds])
        queue.put([await event("e")])
        sizes += [len(queue.take(0.0)) - 1, len(queue.take(0.0))]
    assert sizes == [2, 8, 1, 1]


async def test_take_accounts_take_turns_in_the_order_in_which_they_came() -> None:
    queue = WriterQueue(JournalOptions(batch=4))
    for name in ("a0", "a1", "a2", "b0", "b1"):
        queue.put_change(await item(name), name[0], urgent=False)
    assert names(queue.take(1.0)) == ["a0", "b0", "a1", "b1"]
    assert names(queue.take(1.0)) == ["a2"]


async def test_take_change_that_the_last_batch_had_wakes_nobody() -> None:
    queue = WriterQueue(JournalOptions(batch=1))
    queue.put([await event("e0")])
    queue.put_change(await item("c"), "a", urgent=False)
    assert sorted(names(queue.take(1.0))) == ["c", "e0"]
    queue.put([await event("e1")])  # behind the mark of the change
    assert names(queue.take(1.0)) == ["e1"]
    assert queue.take(0.0) == []


async def test_take_last_item_comes_after_everything_that_waits() -> None:
    queue = WriterQueue(JournalOptions(batch=2))
    for number in range(3):
        queue.put_change(await item(f"c{number}"), "a", urgent=False)
        queue.put([await event(f"e{number}")])
    queue.end(await event("last"))
    taken: list[str] = []
    while not queue.ended:
        taken += names(queue.take(1.0))
    assert taken[-1] == "last"
    assert sorted(taken[:-1]) == ["c0", "c1", "c2", "e0", "e1", "e2"]
    assert queue.take(1.0) == []


async def test_put_change_account_with_too_many_changes_is_throttled_and_others_are_not() -> None:
    queue = WriterQueue(JournalOptions())
    for _ in range(1_000):
        queue.put_change(await item("c"), "a", urgent=False)
    with pytest.raises(DaypassError) as refused:
        queue.put_change(await item("c"), "a", urgent=False)
    assert refused.value.kind is ErrorKind.THROTTLED
    queue.put_change(await item("b"), "b", urgent=False)
    queue.put_change(await item("r"), "a", urgent=True)
    assert names(queue.take(1.0))[:3] == ["r", "c", "b"]


async def test_take_events_handed_over_at_once_fill_several_batches_in_order() -> None:
    queue = WriterQueue(JournalOptions(batch=3))
    queue.put([await event(f"e{number}") for number in range(4)])
    queue.put([await event("e4")])
    assert names(queue.take(0.0)) == ["e0", "e1", "e2"]
    assert names(queue.take(0.0)) == ["e3", "e4"]
    assert queue.take(0.0) == []


async def test_take_batch_ends_with_the_event_that_fills_its_bytes() -> None:
    first = await event("e0")
    queue = WriterQueue(JournalOptions(batch_bytes=first.size + 1))
    queue.put([first, await event("e1"), await event("e2")])
    assert names(queue.take(0.0)) == ["e0", "e1"]
    queue.end()
    assert names(queue.take(0.0)) == ["e2"]
    assert queue.ended
