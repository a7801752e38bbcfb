"""Slices of work on the event loop: one in each iteration, in turns of the accounts (A236)."""

from __future__ import annotations

import asyncio

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.scheduling import slices as module
from daypass.scheduling.slices import Slices


def test_turn_of_many_works_gives_one_slice_in_each_iteration() -> None:
    async def run() -> None:
        slices, ran, at_once = Slices(), [0], [0]

        async def work() -> None:
            for _ in range(5):
                await slices.turn("a")
                ran[0] += 1

        works = [asyncio.create_task(work()) for _ in range(20)]
        while not all(each.done() for each in works):
            before = ran[0]
            await asyncio.sleep(0)
            at_once.append(ran[0] - before)
        assert ran == [100]
        assert max(at_once) <= 2  # this test may run between a turn's end and the next one

    asyncio.run(run())


def test_turn_of_an_account_with_little_work_does_not_wait_for_one_with_much() -> None:
    async def run() -> list[str]:
        slices, order = Slices(), list[str]()

        async def work(account: str) -> None:
            await slices.turn(account)
            order.append(account)

        await asyncio.gather(*(work("much") for _ in range(50)), work("little"))
        return order

    assert asyncio.run(run()).index("little") <= 1


def test_turn_of_a_request_that_has_ended_is_passed_over() -> None:
    async def run() -> None:
        slices = Slices()
        ended = [asyncio.create_task(slices.turn("a")) for _ in range(10)]
        await asyncio.sleep(0)
        for each in ended[1:]:
            each.cancel()
        await asyncio.wait_for(slices.turn("b"), 5)
        await asyncio.wait_for(slices.turn("a"), 5)

    asyncio.run(run())


def test_turn_of_an_account_with_too_much_waiting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_OF_ACCOUNT", 3)

    async def run() -> None:
        slices = Slices()
        waiting = [asyncio.create_task(slices.turn("a")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(DaypassError) as refused:
            await slices.turn("a")
        assert refused.value.kind is ErrorKind.THROTTLED
        await asyncio.gather(*waiting, slices.turn("b"))

    asyncio.run(run())
