"""The pool that is fair between accounts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.scheduling.threads import FairThreads, Job


class Gate:
    """Work that runs until it is let go, and the order in which it began."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[str] = []
        self.running = threading.Semaphore(0)

    def work(self, name: str) -> str:
        self.begun.append(name)
        self.running.release()
        assert self.open.wait(10)
        return name


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


async def _started(gate: Gate, count: int) -> None:
    for _ in range(count):
        assert await asyncio.to_thread(gate.running.acquire, timeout=10)


def test_run_accounts_take_turns_however_much_one_of_them_has_queued(gate: Gate) -> None:
    async def scene() -> list[str]:
        pool = FairThreads(1, "test")
        tasks = [asyncio.create_task(pool.run("a", lambda _: gate.work("first")))]
        await _started(gate, 1)
        names = [f"a{number}" for number in range(5)]
        tasks += [asyncio.create_task(pool.run("a", lambda _, n=name: gate.work(n))) for name in names]  # type: ignore[misc]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(pool.run(name, lambda _, n=name: gate.work(n))) for name in ("b", "c")]  # type: ignore[misc]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
        pool.close()
        return gate.begun

    assert asyncio.run(scene()) == ["first", "a0", "b", "c", "a1", "a2", "a3", "a4"]


def test_run_two_jobs_at_once_do_not_wait_for_the_one_idle_thread(gate: Gate) -> None:
    async def scene() -> None:
        pool = FairThreads(2, "test")
        await pool.run("a", lambda _: None)  # one thread has started, and is idle soon
        await asyncio.to_thread(_until_idle, pool)
        tasks = [asyncio.create_task(pool.run(name, lambda _, n=name: gate.work(n))) for name in ("a", "b")]  # type: ignore[misc]
        await _started(gate, 2)
        gate.open.set()
        await asyncio.gather(*tasks)
        pool.close()

    asyncio.run(scene())


def _until_idle(pool: FairThreads) -> None:
    while not pool._idle:  # it has no other sign
        threading.Event().wait(0.001)


def test_run_urgent_work_uses_the_thread_in_reserve_while_all_others_are_busy(gate: Gate) -> None:
    async def scene() -> None:
        pool = FairThreads(3, "test", reserved=1)
        busy = [asyncio.create_task(pool.run(name, lambda _: gate.work("busy"))) for name in "abcdefgh"]
        await _started(gate, 2)
        assert await asyncio.wait_for(pool.run("z", lambda _: "revoked", urgent=True), 10) == "revoked"
        assert gate.begun == ["busy", "busy"]
        gate.open.set()
        await asyncio.gather(*busy)
        pool.close()

    asyncio.run(scene())


def test_run_account_with_too_much_in_the_queue_is_throttled_and_others_are_not(gate: Gate) -> None:
    async def scene() -> ErrorKind:
        pool = FairThreads(1, "test", most_of_account=2)
        tasks = [asyncio.create_task(pool.run("a", lambda _: gate.work("a")))]
        await _started(gate, 1)
        tasks += [asyncio.create_task(pool.run("a", lambda _: gate.work("a"))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(DaypassError) as refusal:
            await pool.run("a", lambda _: gate.work("a"))
        tasks.append(asyncio.create_task(pool.run("b", lambda _: gate.work("b"))))
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["a", "a", "a", "b"]
        pool.close()
        return refusal.value.kind

    assert asyncio.run(scene()) is ErrorKind.THROTTLED


def test_run_cancelled_while_waiting_never_begins_and_while_running_is_told(gate: Gate) -> None:
    async def scene() -> None:
        pool = FairThreads(1, "test")
        jobs: list[Job] = []

        def running(job: Job) -> str:
            jobs.append(job)
            return gate.work("running")

        first = asyncio.create_task(pool.run("a", running))
        await _started(gate, 1)
        second = asyncio.create_task(pool.run("a", lambda _: gate.work("second")))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.wait((first, second))
        assert jobs[0].abandoned
        gate.open.set()
        assert await pool.run("a", lambda _: "after") == "after"
        assert gate.begun == ["running"]
        pool.close()

    asyncio.run(scene())


def test_run_work_that_raises_gives_its_error_to_whoever_waits() -> None:
    async def scene() -> None:
        pool = FairThreads(1, "test")
        with pytest.raises(ZeroDivisionError):
            await pool.run("a", lambda _: 1 // 0)
        assert await pool.run("a", lambda _: 7) == 7
        pool.close()
        with pytest.raises(DaypassError):
            await pool.run("a", lambda _: 7)

    asyncio.run(scene())


def test_a234_run_without_room_for_a_thread_is_refused_and_the_next_one_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> str:
        pool = FairThreads(2, "test")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_room)
            with pytest.raises(DaypassError) as refused:
                await pool.run("a", lambda _: "lost")
        assert refused.value.kind is ErrorKind.UNAVAILABLE
        assert "can't start new thread" in refused.value.private["reason"]
        served = await pool.run("a", lambda _: "served")
        await asyncio.to_thread(pool.close)  # it joins only threads that have started
        return served

    assert asyncio.run(scene()) == "served"


def test_a234_run_without_room_for_another_thread_waits_for_one_that_runs(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> list[str]:
        pool = FairThreads(2, "test")
        first = asyncio.create_task(pool.run("a", lambda _: gate.work("first")))
        await _started(gate, 1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_room)
            second = asyncio.create_task(pool.run("a", lambda _: gate.work("second")))
            await asyncio.sleep(0)
        gate.open.set()
        done = [await first, await second]
        await asyncio.to_thread(pool.close)
        return done

    assert asyncio.run(scene()) == ["first", "second"]
