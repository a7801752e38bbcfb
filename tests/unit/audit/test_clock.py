from __future__ import annotations

import threading

from daypass.ports.clock import MAX_JUMP_MS, Clock

HOUR = 3_600_000


class Times:
    def __init__(self, wall: int) -> None:
        self.wall = wall
        self.passed = 0.0

    def clock(self, mark: int = 0, reference: int | None = None) -> Clock:
        return Clock(lambda: self.wall * 1_000_000, mark, lambda: self.passed, reference=reference)


def test_now_follows_the_wall_clock() -> None:
    times = Times(1000)
    clock = times.clock()
    assert clock.now() == 1000
    times.wall, times.passed = 5000, 4.0
    assert (clock.now(), clock.lag_ms) == (5000, 0)


def test_a60_wall_clock_set_back_an_hour_never_goes_below_what_was_read() -> None:
    times = Times(10 * HOUR)
    clock = times.clock()
    assert clock.now() == 10 * HOUR
    times.wall = 9 * HOUR
    assert clock.now() == 10 * HOUR
    assert clock.lag_ms == HOUR


def test_a60_restart_with_the_clock_set_back_starts_from_the_persisted_mark() -> None:
    assert Times(9 * HOUR).clock(mark=10 * HOUR).now() == 10 * HOUR


def test_now_while_behind_goes_on_at_half_speed_until_the_wall_clock_has_caught_up() -> None:
    times = Times(9 * HOUR)
    clock = times.clock(mark=10 * HOUR)
    readings = []
    for minute in range(0, 181, 10):
        times.passed, times.wall = minute * 60.0, 9 * HOUR + minute * 60_000
        readings.append(clock.now())
    assert readings == sorted(readings)
    assert readings[3] == 10 * HOUR + HOUR // 4  # half an hour later
    assert readings[12] == times.wall - HOUR  # after two hours it has been caught up
    assert (readings[-1], clock.lag_ms) == (times.wall, 0)


def test_now_read_often_while_behind_loses_no_time() -> None:
    times = Times(0)
    clock = times.clock(mark=1000)
    for step in range(1, 2001):
        times.passed = step / 1000
        clock.now()
    assert clock.now() == 2000


def test_now_from_many_threads_never_goes_back() -> None:
    clock = Clock()
    backwards: list[int] = []

    def read() -> None:
        last = 0
        for _ in range(5000):
            now = clock.now()
            if now < last:
                backwards.append(now)
            last = now

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backwards == []


# --- Jumps (A111)

DAY = 24 * HOUR


def test_a111_jump_ahead_is_refused_and_leaves_nothing_behind_when_it_is_over() -> None:
    times = Times(10 * HOUR)
    clock = times.clock()
    times.wall, times.passed = 10 * HOUR + DAY, 1.0
    assert clock.now() == 10 * HOUR + 1000  # goes on at the pace of the monotonic clock
    assert clock.wall() == 10 * HOUR + DAY
    assert (clock.jump_ms, clock.jumps) == (DAY - 1000, 1)
    assert "86399 s ahead" in clock.problem()
    times.wall, times.passed = 10 * HOUR + 2500, 2.5
    assert clock.now() == 10 * HOUR + 2500
    assert (clock.jump_ms, clock.problem(), clock.lag_ms) == (0, "", 0)


def test_a111_many_small_jumps_are_refused_together() -> None:
    times = Times(0)
    clock = times.clock()
    for minute in range(1, 60):
        times.wall = minute * 60_000
        clock.now()
    assert clock.jump_ms
    assert clock.now() <= MAX_JUMP_MS


def test_now_follows_the_wall_clock_by_as_much_as_time_has_passed() -> None:
    times = Times(0)
    clock = times.clock()
    times.wall, times.passed = 30 * DAY + 60_000, 30 * 86_400.0
    assert (clock.now(), clock.jump_ms) == (times.wall, 0)


def test_a111_clock_that_starts_ahead_of_the_others_is_refused() -> None:
    times = Times(12 * HOUR)
    clock = times.clock(mark=10 * HOUR, reference=10 * HOUR)
    assert clock.now() == 10 * HOUR
    assert clock.jump_ms == 2 * HOUR
    times.wall = 10 * HOUR + 5
    assert (clock.now(), clock.jump_ms) == (10 * HOUR + 5, 0)


def test_clock_that_starts_near_the_others_is_believed() -> None:
    clock = Times(10 * HOUR + 200_000).clock(mark=10 * HOUR, reference=10 * HOUR)
    assert (clock.now(), clock.jump_ms) == (10 * HOUR + 200_000, 0)


def test_jump_that_the_database_confirms_is_followed() -> None:
    times = Times(0)
    clock = times.clock()
    times.wall = DAY
    clock.now()
    clock.confirm(HOUR)  # it does not agree
    assert clock.problem()
    clock.confirm(DAY - 1000)
    assert (clock.now(), clock.problem()) == (DAY, "")


def test_reset_believes_the_wall_clock_wherever_it_is() -> None:
    times = Times(0)
    clock = times.clock(mark=DAY)
    assert "behind" in clock.warning()
    clock.reset()
    assert (clock.now(), clock.warning(), clock.lag_ms) == (0, "", 0)
    times.wall = DAY
    assert clock.problem()
    clock.reset()
    assert (clock.now(), clock.problem()) == (DAY, "")


def test_clock_that_starts_behind_the_database_may_be_set_right() -> None:
    """A process that starts while its system clock is two hours slow does not refuse the right time."""
    times = Times(8 * HOUR)
    clock = times.clock(mark=10 * HOUR, reference=10 * HOUR)
    assert clock.now() >= 10 * HOUR
    times.wall = 10 * HOUR + 5000
    times.passed += 5
    assert clock.now() == times.wall
    assert (clock.problem(), clock.jumps) == ("", 0)
    times.wall += 24 * HOUR
    assert clock.now() < times.wall
    assert clock.jumps == 1
