"""Group commit: gap-free, atomic, fair to the innocent, and never acknowledged before it is durable."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import (
    ACCOUNT,
    Flaky,
    SettableClock,
    bodies_of,
    deadline,
    event,
    requests_of,
    session,
    session_ids,
    verified,
)
from tests.patience import eventually

from daypass.audit import batch
from daypass.audit.log import load_mark, reset_mark
from daypass.domain.directory import Account
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.ports import Tx
from daypass.ports.clock import Clock
from daypass.stores.feed import FeedChange
from daypass.stores.meta import take_lock
from daypass.stores.tx import StoreReader


def add_account(name: str, number: str) -> Any:
    def change(tx: Tx) -> tuple[str, Event]:
        tx.insert(Account(number, name, operator=False, created_at=1))
        return name, event(name, type=EventType.ACCOUNT_CREATED, account=number)

    return change


def accounts(database: Any) -> set[str]:
    return {a.name for a in database.read(lambda conn: StoreReader(conn).find(Account))}


async def test_commit_while_the_last_batch_is_not_answered_is_recorded(start: Starter) -> None:
    journal = await start()
    arrivals = journal._arrivals
    assert arrivals is not None
    arrivals._busy = True  # as after a batch whose outcome is unknown
    await asyncio.wait_for(journal.commit(event("next")), 3.0)


async def test_commit_work_for_the_meantime_is_done_before_the_answer(start: Starter) -> None:
    journal = await start()
    steps: list[str] = []
    for _ in range(2):
        await journal.commit(event(), None, (), lambda: steps.append("work"))
        steps.append("answered")
    assert steps == ["work", "answered"] * 2


async def test_commit_event_whose_row_cannot_be_made_is_refused_alone(
    start: Starter, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await start()
    made = batch.event_row

    def row_of(one: Event) -> Any:
        if one.request_id == "5":
            raise KeyError("a fault of ours")
        return made(one)

    monkeypatch.setattr(batch, "event_row", row_of)
    results = await asyncio.gather(*(journal.commit(event(str(n))) for n in range(20)), return_exceptions=True)
    assert [n for n, result in enumerate(results) if result is not None] == [5]
    assert requests_of(flaky, journal.log)[1:] == [str(n) for n in range(20) if n != 5]
    assert (journal.waiting, journal.waiting_bytes) == (0, 0)


async def test_a360_write_whose_session_row_cannot_be_made_is_refused_and_changes_nothing(
    start: Starter, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A360: the change was made, and its session was issued without being on the record."""
    journal = await start()
    ran: list[Tx] = []

    def change(tx: Tx) -> tuple[None, Event]:
        ran.append(tx)
        return None, event("issued")

    monkeypatch.setattr(batch, "session_row", lambda _: {}["a fault of ours"])
    with pytest.raises(AssertionError):
        await journal.write(change, session("a" * 32))
    assert not ran
    await journal.commit(event("next"))
    assert requests_of(flaky, journal.log)[1:] == ["next"]
    assert (journal.waiting, journal.waiting_bytes) == (0, 0)


async def test_commit_concurrent_load_is_gap_free_and_in_order(start: Starter, flaky: Flaky) -> None:
    sizes: list[int] = []
    journal = await start(on_batch=lambda events, _seconds: sizes.append(len(events)))

    async def waiter(number: int) -> None:
        for turn in range(20):
            await journal.commit(event(f"{number}-{turn}"))
            assert journal.head().seq >= turn + 1

    await asyncio.gather(*(waiter(number) for number in range(50)))
    found = verified(flaky, journal.log)
    assert found.head.seq == 1000
    assert found.head.chain == journal.head().chain
    requests = requests_of(flaky, journal.log)
    for number in range(50):
        assert [r for r in requests if r.startswith(f"{number}-")] == [f"{number}-{turn}" for turn in range(20)]
    assert sum(sizes) == 1000
    assert len(sizes) < 500
    assert (journal.waiting, journal.waiting_bytes) == (0, 0)


async def test_commit_more_than_a_batch_is_split_at_the_limit(start: Starter, flaky: Flaky) -> None:
    sizes: list[int] = []
    journal = await start(on_batch=lambda events, _seconds: sizes.append(len(events)), options={"batch": 7})
    await asyncio.gather(*(journal.commit(event(str(n))) for n in range(50)))
    assert max(sizes) == 7
    assert verified(flaky, journal.log).records == 51


async def test_commit_stores_event_and_session_together(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    claims = session("a" * 32)
    await journal.commit(event("one", session_id="a" * 32, type=EventType.SESSION_ISSUED), claims)
    row = flaky.read(lambda conn: conn.execute(text("SELECT * FROM sessions")).one())
    assert (row.session_id, row.log, row.seq, row.account) == ("a" * 32, journal.log, 1, ACCOUNT)
    assert (row.root_principal_id, row.depth) == ("AIDAALICE", 1)
    assert bodies_of(flaky, journal.log)[1]["session"]["hops"][1][0] == "a" * 32


async def test_commit_guilty_row_fails_alone_and_leaves_no_gap(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    taken = session("a" * 32)
    await journal.commit(event("first"), taken)
    calls = [journal.commit(event(str(n)), session(f"{n:032x}")) for n in range(1, 30)]
    calls.insert(13, journal.commit(event("guilty"), taken))  # a session id can be had once
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [n for n, result in enumerate(results) if result is not None] == [13]
    assert isinstance(results[13], DaypassError)
    assert results[13].kind is ErrorKind.UNAVAILABLE
    assert verified(flaky, journal.log).records == 31
    assert requests_of(flaky, journal.log)[1:] == ["first", *(str(n) for n in range(1, 30))]
    assert session_ids(flaky) == {"a" * 32, *(f"{n:032x}" for n in range(1, 30))}


async def test_commit_session_without_its_event_cannot_be(
    start: Starter, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await start()
    broken = journal._writer._sink._statements

    def fails(*_: object) -> int:
        raise OSError("gone between the session's row and the event's")

    with monkeypatch.context() as patch:
        patch.setattr(broken, "insert_records", fails)
        with deadline(journal, 0.3), pytest.raises(DaypassError):
            await journal.commit(event("lost"), session("b" * 32))
        while journal._writer.busy_since:  # noqa: ASYNC110  # nothing announces that the writer has given it up
            await asyncio.sleep(0.01)
    await journal.commit(event("kept"), session("c" * 32))
    assert requests_of(flaky, journal.log)[1:] == ["kept"]
    assert session_ids(flaky) == {"c" * 32}


async def test_a99_hostile_fields_are_stored_as_one_record(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    hostile = "a\r\nb\x1b[31m\x00\ud800" + "x" * 1_000_000
    await journal.commit(
        event(
            hostile,
            account=hostile,
            actor={"account": hostile, "arn": hostile},
            source={"user_agent": hostile},
            operation=hostile,
            error=hostile,
            session_id=hostile,
            detail={"parameters": {"x": hostile}},
        ),
        replace(session("d" * 32), name=hostile, source_identity=hostile, arn=hostile, issued_at=10**30),
    )
    assert verified(flaky, journal.log).records == 2
    assert bodies_of(flaky, journal.log)[1]["source"]["user_agent"].startswith("a\r\nb\x1b[31m\x00\ud800xx")


# --- Changes


async def test_write_is_seen_by_the_cache_before_its_waiter_wakes(start: Starter, flaky: Flaky) -> None:
    told: list[FeedChange] = []
    journal = await start(on_changes=told.extend)
    value = await journal.write(add_account("one", "000000000001"))
    assert value == "one"
    assert [change.keys for change in told if change.kind == "accounts"]
    position = flaky.read(lambda conn: conn.execute(text("SELECT position FROM feed_counter")).scalar_one())
    assert told[-1].position == position
    assert bodies_of(flaky, journal.log)[1]["type"] == "account.created"
    assert accounts(flaky) == {"one"}


async def test_write_on_changes_that_fails_still_wakes_the_waiter(start: Starter) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("cache")

    journal = await start(on_changes=broken)
    assert await journal.write(add_account("one", "000000000001")) == "one"


async def test_write_that_refuses_undoes_itself_alone(start: Starter, flaky: Flaky) -> None:
    told: list[FeedChange] = []
    journal = await start(on_changes=told.extend)

    def refusing(tx: Tx) -> tuple[None, Event]:
        tx.insert(Account("000000000009", "undone", operator=False, created_at=1))
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, "no more")

    def faulty(tx: Tx) -> tuple[None, Event]:
        tx.insert(Account("000000000008", "undone too", operator=False, created_at=1))
        raise ZeroDivisionError

    def nonsense(tx: Tx) -> tuple[None, Event]:
        tx._conn.execute(text("SELECT no_such_column FROM accounts"))  # type: ignore[attr-defined]
        raise AssertionError

    results = await asyncio.gather(
        journal.commit(event("before")),
        journal.write(add_account("one", "000000000001")),
        journal.write(refusing),
        journal.write(faulty),
        journal.write(nonsense),
        journal.write(add_account("two", "000000000002")),
        journal.commit(event("after")),
        return_exceptions=True,
    )
    assert isinstance(results[2], DaypassError)
    assert results[2].public == "no more"
    assert isinstance(results[3], ZeroDivisionError)
    assert "no_such_column" in str(results[4])
    assert [results[n] for n in (0, 1, 5, 6)] == [None, "one", "two", None]
    assert accounts(flaky) == {"one", "two"}
    assert requests_of(flaky, journal.log)[1:] == ["before", "one", "two", "after"]
    verified(flaky, journal.log)
    assert len([change for change in told if change.kind == "accounts"]) == 2
    assert journal.problem() == ""


async def test_write_that_is_undone_leaves_no_trace_of_its_feed_head(start: Starter, flaky: Flaky) -> None:
    """Else the store would remember a position that was never committed, and take the next start for a restored file."""
    journal = await start()

    def fails_late(tx: Tx) -> tuple[None, Event]:
        tx.insert(Account("000000000009", "undone", operator=False, created_at=1))
        tx.flush()  # type: ignore[attr-defined]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await journal.write(fails_late)
    assert flaky.feed_heads[-1] is None
    await asyncio.gather(
        journal.write(add_account("one", "000000000001")), journal.write(fails_late), return_exceptions=True
    )
    position = flaky.read(lambda conn: conn.execute(text("SELECT position FROM feed_counter")).scalar_one())
    assert {head.position for head in flaky.feed_heads if head is not None} == {position}


async def test_write_runs_again_when_its_transaction_was_rolled_back(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    flaky.faults.extend(["before", "ok", "ok", "before"])  # in between, the epoch and the end of the log are read
    assert await journal.write(add_account("one", "000000000001")) == "one"
    assert accounts(flaky) == {"one"}
    assert journal.failures == 2


# --- The life of a log


async def test_open_names_installation_node_and_heads_that_nobody_named_yet(start: Starter, flaky: Flaky) -> None:
    first = await start()
    await first.commit(event())
    second = await start()
    third = await start()
    opened = [bodies_of(flaky, journal.log)[0]["detail"] for journal in (first, second, third)]
    assert {detail["node"] for detail in opened} == {"node-1"}
    assert len({detail["installation"] for detail in opened}) == 1
    heads = [{head["log"]: head["seq"] for head in detail["heads"]} for detail in opened]
    assert heads == [{}, {first.log: 1}, {second.log: 0}]  # the first log has not grown since it was named
    assert verified(flaky, second.log).heads[0].chain == first.head().chain


async def test_close_drains_what_waits_and_ends_the_log(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    waiting = [asyncio.ensure_future(journal.commit(event(str(n)))) for n in range(100)]
    await asyncio.sleep(0)
    await journal.close()
    assert await asyncio.gather(*waiting) == [None] * 100
    found = verified(flaky, journal.log)
    assert (found.closed, found.records) == (True, 102)
    with pytest.raises(DaypassError) as refused:
        await journal.commit(event("late"))
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert journal.problem() == "the journal is not open"


async def test_start_again_after_an_opening_whose_answer_was_lost(start: Starter, flaky: Flaky) -> None:
    flaky.faults.append("after")
    with pytest.raises(OSError, match="after the commit"):
        await start()
    journal = await start()
    await journal.commit(event())
    verified(flaky, journal.log)


async def test_commit_of_a_cancelled_caller_is_still_recorded(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    task = asyncio.ensure_future(journal.commit(event("cancelled")))
    await asyncio.sleep(0)
    task.cancel()
    await journal.commit(event("next"))
    assert requests_of(flaky, journal.log)[1:] == ["cancelled", "next"]


async def test_queue_over_its_limit_refuses_at_once(start: Starter, flaky: Flaky) -> None:
    journal = await start(options={"queue": 10, "fsync_delay_ms": 200.0})
    calls = [asyncio.ensure_future(journal.commit(event(str(n)))) for n in range(30)]
    await asyncio.sleep(0)
    assert journal.problem() == "the journal's queue is full"
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [r for r in results if isinstance(r, DaypassError) and r.kind is ErrorKind.UNAVAILABLE]
    assert len(refused) == 20
    assert verified(flaky, journal.log).records == 11
    await journal.commit(event("room again"))


async def test_queue_over_its_bytes_refuses_at_once(start: Starter, flaky: Flaky) -> None:
    journal = await start(options={"queue_bytes": 20_000, "fsync_delay_ms": 100.0})
    big = event(detail={"parameters": {"x": ["y" * 500] * 20}})
    results = await asyncio.gather(*(journal.commit(big) for _ in range(50)), return_exceptions=True)
    assert 0 < sum(result is None for result in results) <= 16  # bytes are counted for so many at a time


async def test_fsync_delay_slows_each_commit_down(start: Starter) -> None:
    took: list[float] = []
    journal = await start(options={"fsync_delay_ms": 50.0}, on_batch=lambda _events, seconds: took.append(seconds))
    await journal.commit(event())
    assert min(took) >= 0.05


# --- The clock's mark


async def test_a60_mark_is_kept_and_never_goes_down(start: Starter, flaky: Flaky) -> None:
    clock = SettableClock()
    journal = await start(clock=clock)
    assert flaky.read(load_mark) == 5_000_000
    clock.time = 6_000_000
    await journal.commit(event())
    assert flaky.read(load_mark) == 6_000_000
    behind = SettableClock()
    behind.time = 1_000_000  # another process, its clock an hour back
    other = await start(clock=behind)
    behind.time = 2_000_000
    await other.commit(event())
    assert flaky.read(load_mark) == 6_000_000


async def test_a111_commit_while_the_clock_has_jumped_is_refused_and_leaves_no_mark(
    start: Starter, flaky: Flaky
) -> None:
    clock = SettableClock()
    journal = await start(clock=clock)
    clock.jump_ms = 86_400_000
    with pytest.raises(DaypassError) as refused:
        await journal.commit(event())
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert refused.value.private["journal"] == "the system clock is 86400 s ahead of the expected time"
    assert flaky.read(load_mark) == 5_000_000
    clock.jump_ms = 0
    await journal.commit(event())


async def test_mark_after_a_reset_begins_anew_and_running_journals_follow(start: Starter, flaky: Flaky) -> None:
    clock = SettableClock(9_000_000)
    journal = await start(clock=clock, options={"mark_every_ms": 0})
    with flaky.write_transaction() as conn:
        reset_mark(conn, "0123", 4_000_000)
    assert flaky.read(load_mark) == 4_000_000
    clock.right = 4_500_000
    await journal.commit(event())
    assert (clock.resets, flaky.read(load_mark)) == (1, 4_500_000)


async def test_postgresql_tells_the_clock_its_time(start: Starter, flaky: Flaky) -> None:
    clock = SettableClock()
    journal = await start(clock=clock, options={"mark_every_ms": 0})
    await journal.commit(event())
    told = getattr(clock, "confirmed", None)
    assert (told is None) == (flaky.dialect == "sqlite")
    assert told is None or abs(told - Clock().wall()) < 60_000


async def test_a60_mark_is_kept_while_nothing_happens(start: Starter, flaky: Flaky) -> None:
    clock = SettableClock()
    await start(clock=clock, options={"idle_seconds": 0.05})
    clock.time = 9_000_000
    await eventually(lambda: flaky.read(load_mark) == 9_000_000)


async def test_write_urgent_change_is_made_before_those_of_others_and_the_log_has_that_order(
    start: Starter, flaky: Flaky
) -> None:
    journal = await start()
    held, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def first(_: Tx) -> tuple[None, Event]:
        loop.call_soon_threadsafe(entered.set)
        held.wait(30)
        return None, event("first")

    waiting = [asyncio.create_task(journal.write(first, account="111111111111"))]
    await entered.wait()  # the writer is busy: what comes now waits
    for number in range(5):
        change = add_account(f"account-{number}", f"{number:012d}")
        waiting.append(asyncio.create_task(journal.write(change, account="111111111111")))
    await asyncio.sleep(0)
    revocation = asyncio.create_task(
        journal.write(lambda _: (None, event("revocation")), account="222222222222", urgent=True)
    )
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(*waiting, revocation)
    requests = requests_of(flaky, journal.log)[1:]
    assert requests[:2] == ["first", "revocation"]
    assert len(requests) == 7
    assert (journal.waiting, journal.waiting_bytes) == (0, 0)


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
async def test_write_of_account_with_too_many_changes_is_throttled_and_not_counted(start: Starter) -> None:
    journal = await start()
    held, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def first(_: Tx) -> tuple[None, Event]:
        loop.call_soon_threadsafe(entered.set)
        held.wait(30)
        return None, event("first")

    writes = [asyncio.create_task(journal.write(first, account="333333333333"))]
    await entered.wait()
    for number in range(1_001):
        change = lambda _, number=number: (None, event(str(number)))  # noqa: E731
        writes.append(asyncio.create_task(journal.write(change, account="111111111111")))
    await asyncio.sleep(0)
    held.set()
    results = await asyncio.gather(*writes, return_exceptions=True)
    refused = [result for result in results if isinstance(result, DaypassError)]
    assert [error.kind for error in refused] == [ErrorKind.THROTTLED]
    assert (journal.waiting, journal.waiting_bytes) == (0, 0)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_write_while_another_process_changes_the_directory_waits_and_is_no_outage(
    start: Starter, flaky: Flaky
) -> None:
    journal = await start(options={"change_seconds": 0.2})
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with flaky.inner.write_transaction() as conn:
            take_lock(conn)
            held.set()
            released.wait()

    other = threading.Thread(target=hold)
    other.start()
    await asyncio.to_thread(held.wait)
    try:
        waiting = asyncio.create_task(journal.write(add_account("waits", "444455556666")))
        await asyncio.sleep(0)  # it is in the queue
        await journal.commit(event("not a change"))
        assert not waiting.done()
    finally:
        released.set()
        other.join()
    assert await waiting == "waits"
    assert "waits" in accounts(flaky)
    assert requests_of(flaky, journal.log)[1:] == ["not a change", "waits"]
    assert (journal.failures, journal.problem()) == (0, "")


async def test_commit_when_durable_frees_the_event_before_the_next_one(start: Starter) -> None:
    journal = await start(options={"idle_seconds": 300.0})
    one = event("freed")
    before = sys.getrefcount(one)
    await journal.commit(one)
    await eventually(lambda: sys.getrefcount(one) == before)  # the writer thread is done with it in a moment
