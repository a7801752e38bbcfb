"""Buckets and batches of the scheduler."""

from __future__ import annotations

import asyncio
import sys

import pytest

from daypass.domain.arn import Source, network_of
from daypass.scheduling.buckets import Buckets, RequestRates, TickBatcher


class Time:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_take_burst_then_rate_and_never_more_than_the_burst_is_saved_up() -> None:
    time = Time()
    buckets = Buckets(10, 5, time)
    assert [buckets.take("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert buckets.is_empty("a")
    time.now += 0.15
    assert not buckets.is_empty("a")
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    time.now += 3_600
    assert [buckets.take("a") for _ in range(6)] == [True] * 5 + [False]


def test_take_keys_do_not_share_a_bucket_and_tokens_count() -> None:
    buckets = Buckets(1, 10, Time())
    assert buckets.take("a", 8)
    assert not buckets.take("a", 3)
    assert buckets.take("a", 2)
    assert buckets.take("b", 10)


def test_take_rate_of_zero_refuses_nothing_and_keeps_nothing() -> None:
    buckets = Buckets(0, 1, Time())
    assert all(buckets.take("a", 1_000) for _ in range(100))
    assert not buckets.is_empty("a")
    assert len(buckets) == 0


def test_take_many_keys_takes_bounded_memory() -> None:
    buckets = Buckets(10, 5, Time())
    for number in range(300_000):
        buckets.take(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64")
    assert len(buckets) <= 100_000
    held = sum(map(sys.getsizeof, (buckets._younger, buckets._older)))
    assert held < 16_000_000


def test_take_busy_key_is_still_limited_while_many_others_come() -> None:
    buckets = Buckets(1, 3, Time())
    taken = 0
    for number in range(60_000):
        taken += buckets.take("busy")
        buckets.take(f"k{number}")
    assert taken == 3


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("x" * 99, "x" * 64),
    ],
)
def test_network_of_ipv6_is_its_first_64_bits(address: str, network: str) -> None:
    assert network_of(address) == network


def test_request_rates_say_which_rate_is_exceeded_and_are_observed() -> None:
    seen: list[str] = []
    rates = RequestRates((1, 2), (1, 3), (1, 1), seen.append, Time())
    assert [rates.charge(Source("", "a", "p1"), 1) for _ in range(3)] == ["", "", "principal"]
    assert [rates.charge(Source("", "a", "p2"), 1) for _ in range(2)] == ["", "account"]
    assert not rates.is_network_exhausted(Source("192.0.2.1"))
    assert [rates.charge_network(Source("192.0.2.1")) for _ in range(2)] == [False, True]
    assert rates.is_network_exhausted(Source("192.0.2.1"))
    assert not rates.is_network_exhausted(Source("192.0.2.2"))
    assert seen == ["principal", "account", "source", "source"]


# --- Work of several requests, done together: each gets its own result or error


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
