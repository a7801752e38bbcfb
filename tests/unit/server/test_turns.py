"""Whose turn it is: in order, bounded in each turn of the loop, and late when it took too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daypass.server.turns import AT_ONCE, IN_FLIGHT, LATE_AT_ONCE, RESERVED, SHARED, Turns


class Loop:
    """An event loop that turns when it is told to."""

    def __init__(self) -> None:
        self.scheduled: list[Callable[[], None]] = []
        self.later: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.scheduled.append(callback)

    def call_later(self, _seconds: float, callback: Callable[..., None], *args: Any) -> None:
        self.later.append((callback, args))

    def turn(self) -> int:
        now, self.scheduled = self.scheduled, []
        for callback in now:
            callback()
        return len(now)

    def wait(self) -> None:
        """The timers end."""
        now, self.later = self.later, []
        for callback, args in now:
            callback(*args)


class World:
    """`ends`: every request has ended when the next turn begins."""

    def __init__(self, *, ends: bool = True) -> None:
        self.loop: Any = Loop()
        self.time = 0.0
        self.ends = ends
        self.begun: list[tuple[int, bool]] = []
        self.in_flight: list[_One] = []
        self.turns = Turns(self.loop, 0.5, lambda: self.time)

    def enter(self, numbers: range, *, source: str = "", **how: Any) -> None:
        for number in numbers:
            self.turns.enter(_One(self, number, source), source=source, **how)

    def turn(self) -> int:
        if self.ends:
            self.end(len(self.in_flight))
        turned: int = self.loop.turn()
        return turned

    def end(self, count: int) -> None:
        """The first so many requests in flight end."""
        ended, self.in_flight = self.in_flight[:count], self.in_flight[count:]
        for one in ended:
            self.turns.leave(one.source)

    def numbers(self) -> list[int]:
        return [number for number, _ in self.begun]


class _One:
    def __init__(self, world: World, number: int, source: str) -> None:
        self._world, self._number, self.source = world, number, source

    def begin(self, *, late: bool) -> None:
        self._world.begun.append((self._number, late))
        self._world.in_flight.append(self)


def test_enter_of_few_begins_at_once_and_the_loop_comes_to_rest() -> None:
    world = World()
    world.enter(range(AT_ONCE))
    assert [number for number, _ in world.begun] == list(range(AT_ONCE))
    assert [world.turn() for _ in range(3)] == [1, 0, 0]


def test_enter_of_many_begins_in_order_over_several_turns() -> None:
    world = World()
    world.enter(range(AT_ONCE * 3))
    sizes = []
    while world.loop.scheduled:
        sizes.append(len(world.begun))
        world.turn()
    assert sizes[:3] == [AT_ONCE, AT_ONCE * 2, AT_ONCE * 3]
    assert world.begun == [(number, False) for number in range(AT_ONCE * 3)]
    assert world.turns.waiting == 0


def test_enter_behind_a_queue_waits_and_urgent_ones_do_not() -> None:
    world = World()
    world.enter(range(AT_ONCE * 2))
    world.enter(range(1000, 1001))
    world.enter(range(2000, 2001), urgent=True)
    world.turn()
    assert world.begun[AT_ONCE] == (2000, False)
    world.turn()
    assert world.begun[-1] == (1000, False)


def test_a115_late_ones_are_refused_and_the_newest_served_in_time() -> None:
    world = World()
    world.enter(range(AT_ONCE + 1_000))
    world.time = 0.4
    world.enter(range(5_000, 5_010))
    world.time = 0.6
    world.turn()
    assert len(world.begun) == AT_ONCE + LATE_AT_ONCE + AT_ONCE, "refusals are bounded in each turn, too"
    served = [number for number, late in world.begun[AT_ONCE:] if not late]
    assert served[:10] == list(range(5_009, 4_999, -1))
    while world.turn():
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
        world.turn()
        assert (honest, False) in world.begun
    assert not [number for number, late in world.begun if late and 100_000 <= number < 200_000]
    assert [number for number, late in world.begun if late]


def test_a113_many_sources_take_turns() -> None:
    world = World()
    for number in range(AT_ONCE * 4):
        world.enter(range(number, number + 1), source=f"192.0.2.{number % 4}" if number < AT_ONCE * 2 else "192.0.2.0")
    before = len(world.begun)
    world.turn()
    first = [number for number, _ in world.begun[before : before + 8]]
    assert sorted(number % 4 for number in first) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a113_management_begins_at_once_although_others_wait() -> None:
    world = World()
    world.enter(range(AT_ONCE * 20), source="192.0.2.1")
    world.enter(range(90_000, 90_000 + RESERVED), source="192.0.2.2", management=True)
    assert [number for number, _ in world.begun[-RESERVED:]] == [*range(90_000, 90_000 + RESERVED)]
    world.enter(range(91_000, 91_000 + 3 * RESERVED), source="192.0.2.2", management=True)
    world.turn()
    begun = [number for number, _ in world.begun]
    assert sum(91_000 <= number < 92_000 for number in begun) == RESERVED, "the reserved part is bounded, too"
    assert sum(number < AT_ONCE * 20 for number in begun) == 2 * AT_ONCE
    while world.turn():
        pass
    assert world.turns.waiting == 0
    assert len({number for number, _ in world.begun}) == AT_ONCE * 20 + 4 * RESERVED


def test_a114_sources_that_have_nothing_waiting_take_no_memory() -> None:
    world = World()
    world.enter(range(AT_ONCE), source="192.0.2.1")
    for number in range(1_000):
        world.enter(range(1_000 + number, 1_001 + number), source=f"source-{number}")
    while world.turn():
        pass
    assert not world.turns._usual._by_source
    assert not world.turns._in_flight


def test_a113_requests_beyond_those_in_flight_wait_until_one_ends() -> None:
    world = World(ends=False)
    world.enter(range(1), source="192.0.2.2")
    world.enter(range(1, IN_FLIGHT * 3), source="192.0.2.1")
    for _ in range(20):
        world.turn()
        world.time += 0.004  # a busy event loop calls back late
        world.loop.wait()
    assert world.numbers() == list(range(IN_FLIGHT))
    world.end(3)
    world.turn()
    assert world.numbers() == list(range(IN_FLIGHT + 3))


def test_enter_of_a_source_that_is_alone_is_not_limited_in_flight() -> None:
    world = World(ends=False)
    world.enter(range(1), source="192.0.2.2")
    world.enter(range(1, 2), source="192.0.2.1")
    world.end(1)
    world.turns.update_limit()
    world.enter(range(2, IN_FLIGHT * 3), source="192.0.2.1")
    while world.loop.scheduled:
        world.turn()
    assert world.numbers() == list(range(IN_FLIGHT * 3))
    assert not world.turns.busy
    world.enter(range(9_000, 9_001), source="192.0.2.2")
    assert world.begun[-1] == (9_000, False)
    assert world.turns.busy, "another source has come"
    world.turns.update_limit()
    assert world.turns.busy


def test_a113_requests_in_flight_are_more_while_the_loop_is_idle() -> None:
    """They wait for storage then, not for the processor."""
    world = World(ends=False)
    world.enter(range(1), source="192.0.2.2")
    world.enter(range(1, IN_FLIGHT * 3), source="192.0.2.1")
    while world.loop.scheduled:
        world.turn()
    assert len(world.begun) == IN_FLIGHT
    for _ in range(IN_FLIGHT * 3):
        world.loop.wait()  # at once: the loop has nothing else to do
        while world.loop.scheduled:
            world.turn()
    assert world.numbers() == list(range(IN_FLIGHT * 3))
    assert not world.loop.later, "it no longer looks when nothing waits"


def test_a113_source_that_uses_less_than_its_share_does_not_wait_for_one_that_floods() -> None:
    world = World(ends=False)
    world.enter(range(-1, 0), source="192.0.2.3")
    world.enter(range(IN_FLIGHT * 3), source="192.0.2.1")
    while world.loop.scheduled:
        world.turn()
    assert world.turns.busy
    world.enter(range(9_000, 9_001), source="192.0.2.2")
    assert world.begun[-1] == (9_000, False)
    world.enter(range(9_001, 9_001 + IN_FLIGHT), source="192.0.2.2")
    share = SHARED // 4  # of three sources, and of one more that may come
    assert sum(number >= 9_000 for number in world.numbers()) <= share + 1, "its own requests are not more important"


def test_a113_few_requests_of_a_source_begin_at_once_beside_ten_that_flood() -> None:
    world = World(ends=False)
    for number in range(10):
        world.enter(range(100 * number, 100 * number + IN_FLIGHT), source=f"192.0.2.{number}")
    while world.loop.scheduled:
        world.turn()
    before = len(world.begun)
    world.enter(range(9_000, 9_003), source="192.0.2.10")
    assert world.numbers()[before:] == [9_000, 9_001, 9_002]


def test_a113_many_sources_do_not_begin_more_than_is_shared() -> None:
    world = World(ends=False)
    for number in range(10 * SHARED):
        world.enter(range(number, number + 1), source=f"source-{number}")
        world.enter(range(number, number + 1), source=f"source-{number}")
        world.turn()
    assert len(world.begun) <= IN_FLIGHT + SHARED


def test_a113_source_that_had_fewer_turns_catches_up_after_a_delay() -> None:
    """While the server stood still, ten requests came from an honest source and hundreds from another one."""
    world = World()
    flood = 0
    for turn in range(50):
        world.enter(range(flood, flood + AT_ONCE), source="192.0.2.1")
        flood += AT_ONCE
        if turn % 5 == 0:
            world.enter(range(80_000 + turn, 80_001 + turn), source="192.0.2.2")
        world.turn()
    world.enter(range(flood, flood + 400), source="192.0.2.1")
    world.enter(range(90_000, 90_010), source="192.0.2.2")
    before = len(world.begun)
    world.turn()
    assert sum(number >= 90_000 for number in world.numbers()[before:]) == 10


def test_a114_turns_of_sources_that_are_gone_take_no_memory() -> None:
    world = World()
    world.enter(range(AT_ONCE * 1_000), source="192.0.2.1")
    for number in range(3_000):
        world.enter(range(100_000 + number, 100_001 + number), source=f"source-{number}")
    for _ in range(600):
        world.turn()
    assert world.turns._usual.count
    assert len(world.turns._usual._turns) < 100


def test_a115_late_ones_are_refused_although_there_is_no_room() -> None:
    """Those in flight wait for something slow and the loop is busy: nothing ends, so no turn comes."""
    world = World(ends=False)
    world.enter(range(1), source="192.0.2.1")
    world.enter(range(1, IN_FLIGHT), source="192.0.2.2")
    world.turn()
    world.enter(range(IN_FLIGHT, 2 * IN_FLIGHT), source="192.0.2.2")
    while world.turn():
        pass
    waiting = world.turns.waiting
    before = len(world.begun)
    assert waiting > 0
    world.time = 0.7
    world.loop.wait()
    while world.turn():
        pass
    assert [late for _, late in world.begun[before:]] == [True] * waiting
    assert world.turns.waiting == 0
    world.enter(range(99, 100), source="192.0.2.3")
    world.end(len(world.in_flight))
    while world.turn():
        pass
    assert world.begun[-1] == (99, False)
    world.enter(range(100, 101), source="192.0.2.2")
    assert world.begun[-1] == (100, False)


def test_h5_refusals_take_no_more_turns_than_requests_that_begin_and_half_a_thousand_a_second() -> None:
    """Clients that send again at once are refused at once again: that must not take the time of those in time."""
    world = World()
    world.enter(range(50_000))
    world.time = 1.0
    fresh, seconds = 100_000, 2.0
    for _ in range(1_000):
        world.enter(range(fresh, fresh + 4))  # in time
        fresh += 4
        world.turn()
        world.time += seconds / 1_000
    refused = sum(late for _, late in world.begun)
    served = len(world.begun) - refused - AT_ONCE
    assert served >= 3_000
    assert 0 < refused <= served + 500 * seconds + 2 * LATE_AT_ONCE


def test_h5_request_that_has_waited_in_the_systems_buffers_is_late_when_the_server_is_busy() -> None:
    world = World()
    world.enter(range(AT_ONCE + 1))  # one waits
    world.enter(range(1000, 1001), age=0.6)
    world.enter(range(2000, 2001), age=0.1)
    while world.loop.scheduled:
        world.turn()
    assert (1000, True) in world.begun
    assert (2000, False) in world.begun


def test_a115_request_that_waited_in_the_systems_buffers_behind_a_newer_one_is_refused() -> None:
    world = World(ends=False)
    world.enter(range(AT_ONCE))
    world.enter(range(100, 102))
    world.enter(range(200, 202), age=0.6)  # older than those before them: read only after a pause
    world.turn()
    assert world.begun[AT_ONCE:] == [(201, True), (200, True), (101, False), (100, False)]
