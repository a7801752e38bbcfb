"""Slices of work on the event loop: one at a time, in turns of the accounts, at most half of the time (A236, A305)."""

from __future__ import annotations

import asyncio
import time

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.scheduling import buckets as module
from daypass.scheduling.buckets import Slices


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


def test_a305_turn_after_a_long_slice_comes_after_as_long_a_time() -> None:
    async def run() -> float:
        slices, ended, pauses = Slices(), list[float](), list[float]()

        async def work() -> None:
            await slices.turn("a")
            pauses.extend(time.monotonic() - each for each in ended)
            time.sleep(0.05)  # noqa: ASYNC251  # the slice
            ended.append(time.monotonic())

        await asyncio.gather(work(), work())
        return pauses[0]

    assert asyncio.run(run()) >= 0.045


def test_a305_begin_comes_after_what_its_account_has_begun() -> None:
    async def run() -> list[str]:
        slices, order = Slices(), list[str]()

        async def work(name: str, account: str) -> None:
            await slices.begin(account)
            for number in range(3):
                order.append(f"{name}{number}")
                await slices.turn(account)

        await asyncio.gather(work("a", "one"), work("b", "one"), work("c", "other"))
        return order

    order = asyncio.run(run())
    assert [each for each in order if each[0] != "c"] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert order.index("c2") < order.index("b0")  # another account's turns do not wait for it


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


def test_a312_turn_of_a_slice_that_fails_or_is_cancelled_ends_with_it() -> None:
    """Nothing holds a turn: the next one comes whatever became of the slice, also when its request never ran it."""

    async def run() -> None:
        slices = Slices()

        async def fails() -> None:
            await slices.turn("a")
            raise ValueError

        for _ in range(3):
            failed, cancelled = asyncio.create_task(fails()), asyncio.create_task(slices.turn("a"))
            late = asyncio.create_task(slices.begin("a"))
            await asyncio.wait([failed])
            cancelled.cancel()
            asyncio.get_running_loop().call_later(0.002, late.cancel)  # about when its turn is given
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await slices.turn("a")
            await asyncio.gather(failed, cancelled, late, return_exceptions=True)
        await asyncio.wait_for(slices.turn("a"), 5)
        await asyncio.wait_for(slices.begin("b"), 5)

    asyncio.run(run())


def test_turn_of_an_account_with_too_much_waiting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OF_ACCOUNT", 3)

    async def run() -> None:
        slices = Slices()
        waiting = [asyncio.create_task(slices.turn("a")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(DaypassError) as refused:
            await slices.turn("a")
        assert refused.value.kind is ErrorKind.THROTTLED
        await asyncio.gather(*waiting, slices.turn("b"))

    asyncio.run(run())
