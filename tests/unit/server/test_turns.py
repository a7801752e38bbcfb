"""Whose turn it is: in order, bounded in each turn of the loop, and late when it took too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daypass.server.turns import AT_ONCE, LATE_AT_ONCE, RESERVED, Turns


class Loop:
    """An event loop that turns when it is told to."""

    def __init__(self) -> None:
        self.scheduled: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.scheduled.append(callback)

    def turn(self) -> int:
        now, self.scheduled = self.scheduled, []
        for callback in now:
            callback()
        return len(now)


class World:
    def __init__(self) -> None:
        self.loop: Any = Loop()
        self.time = 0.0
        self.begun: list[tuple[int, bool]] = []
        self.turns = Turns(self.loop, 0.5, lambda: self.time)

    def enter(self, numbers: range, **how: Any) -> None:
        for number in numbers:
            self.turns.enter(_One(self, number), **how)


class _One:
    def __init__(self, world: World, number: int) -> None:
        self._world, self._number = world, number

    def begin(self, *, late: bool) -> None:
        self._world.begun.append((self._number, late))


def test_enter_of_few_begins_at_once_and_the_loop_comes_to_rest() -> None:
    world = World()
    world.enter(range(AT_ONCE))
    assert [number for number, _ in world.begun] == list(range(AT_ONCE))
    assert [world.loop.turn() for _ in range(3)] == [1, 0, 0]


def test_enter_of_many_begins_in_order_over_several_turns() -> None:
    world = World()
    world.enter(range(AT_ONCE * 3))
    sizes = []
    while world.loop.scheduled:
        sizes.append(len(world.begun))
        world.loop.turn()
    assert sizes[:3] == [AT_ONCE, AT_ONCE * 2, AT_ONCE * 3]
    assert world.begun == [(number, False) for number in range(AT_ONCE * 3)]
    assert world.turns.waiting == 0


def test_enter_behind_a_queue_waits_and_urgent_ones_do_not() -> None:
    world = World()
    world.enter(range(AT_ONCE * 2))
    world.enter(range(1000, 1001))
    world.enter(range(2000, 2001), urgent=True)
    world.loop.turn()
    assert world.begun[AT_ONCE] == (2000, False)
    world.loop.turn()
    assert world.begun[-1] == (1000, False)


def test_a115_late_ones_are_refused_and_the_newest_served_in_time() -> None:
    world = World()
    world.enter(range(AT_ONCE + 1_000))
    world.time = 0.4
    world.enter(range(5_000, 5_010))
    world.time = 0.6
    world.loop.turn()
    assert len(world.begun) == AT_ONCE + LATE_AT_ONCE + AT_ONCE, "refusals are bounded in each turn, too"
    served = [number for number, late in world.begun[AT_ONCE:] if not late]
    assert served[:10] == list(range(5_009, 4_999, -1))
    while world.loop.turn():
        pass
    assert sorted(number for number, _ in world.begun) == [*range(AT_ONCE + 1_000), *range(5_000, 5_010)]


def test_a113_source_with_many_requests_delays_and_loses_its_own_alone() -> None:
    """Ten times what the server can do from one source: the requests of another begin in the next turn."""
    world = World()
    world.enter(range(AT_ONCE * 100), source="192.0.2.1")
    for turn in range(40):
        world.time += 0.1
        honest = 100_000 + turn
        world.enter(range(honest, honest + 1), source="192.0.2.2")
        world.enter(range(200_000 + turn * AT_ONCE * 10, 200_000 + (turn + 1) * AT_ONCE * 10), source="192.0.2.1")
        world.loop.turn()
        assert (honest, False) in world.begun
    assert not [number for number, late in world.begun if late and 100_000 <= number < 200_000]
    assert [number for number, late in world.begun if late]


def test_a113_many_sources_take_turns() -> None:
    world = World()
    for number in range(AT_ONCE * 4):
        world.enter(range(number, number + 1), source=f"192.0.2.{number % 4}" if number < AT_ONCE * 2 else "192.0.2.0")
    before = len(world.begun)
    world.loop.turn()
    first = [number for number, _ in world.begun[before : before + 8]]
    assert sorted(number % 4 for number in first) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a113_management_begins_at_once_although_others_wait() -> None:
    world = World()
    world.enter(range(AT_ONCE * 20), source="192.0.2.1")
    world.enter(range(90_000, 90_000 + RESERVED), source="192.0.2.2", management=True)
    assert [number for number, _ in world.begun[-RESERVED:]] == [*range(90_000, 90_000 + RESERVED)]
    world.enter(range(91_000, 91_000 + 3 * RESERVED), source="192.0.2.2", management=True)
    world.loop.turn()
    begun = [number for number, _ in world.begun]
    assert sum(91_000 <= number < 92_000 for number in begun) == RESERVED, "the reserved part is bounded, too"
    assert sum(number < AT_ONCE * 20 for number in begun) == 2 * AT_ONCE
    while world.loop.turn():
        pass
    assert world.turns.waiting == 0
    assert len({number for number, _ in world.begun}) == AT_ONCE * 20 + 4 * RESERVED


def test_a114_sources_that_have_nothing_waiting_take_no_memory() -> None:
    world = World()
    world.enter(range(AT_ONCE), source="192.0.2.1")
    for number in range(1_000):
        world.enter(range(1_000 + number, 1_001 + number), source=f"source-{number}")
    while world.loop.turn():
        pass
    assert not world.turns._usual._by_source
