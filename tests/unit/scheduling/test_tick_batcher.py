"""Work of several requests, done together: each gets its own result or error."""

from __future__ import annotations

import asyncio

import pytest

from daypass.scheduling.buckets import TickBatcher


async def test_do_works_of_one_iteration_are_done_in_order_and_each_gets_its_result() -> None:
    turn, done = TickBatcher[int](), list[int]()

    def work(number: int) -> int:
        done.append(number)
        return number * 2

    asked = [asyncio.ensure_future(turn.do(lambda number=number: work(number))) for number in range(5)]  # type: ignore[misc]  # a default
    await asyncio.sleep(0)
    assert done == []
    await asyncio.sleep(0)
    assert done == list(range(5))
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]
    assert await turn.do(lambda: work(7)) == 14


async def test_do_work_that_fails_fails_alone() -> None:
    turn = TickBatcher[int]()

    def fail() -> int:
        raise ValueError("no")

    asked = [asyncio.ensure_future(turn.do(work)) for work in (fail, lambda: 1)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[0], ValueError)
    assert found[1] == 1


async def test_do_work_of_a_cancelled_request_is_not_done() -> None:
    turn, done = TickBatcher[None](), list[int]()
    first = asyncio.ensure_future(turn.do(lambda: done.append(1)))
    second = asyncio.ensure_future(turn.do(lambda: done.append(2)))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert done == [2]
    with pytest.raises(asyncio.CancelledError):
        await first
