"""The races that the directory's rules exist for. Each test makes the bad order happen and fails without its rule."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import Follower, Opener
from tests.contract.making import (
    ACCOUNT,
    ALLOW,
    DENY,
    NOW,
    Recorder,
    insert,
    read,
    revocation,
    role,
    session,
    user,
    write,
)
from tests.patience import eventually

from daypass.domain.directory import InlinePolicy, Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.scheduling.buckets import Coalesced
from daypass.stores import directory as directory_module
from daypass.stores.applied_feed import RESTORED_AT_ONCE, restore_revocations
from daypass.stores.cache import MISSING, Freshness, ViewCache
from daypass.stores.directory import Directory
from daypass.stores.engine import Database, unavailable
from daypass.stores.feed import feed_head, prune, renew_epoch

DEPLOY = role("Deploy")


class Gate:
    """Holds the next database read of a directory back after its snapshot has been read, until it is opened."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        self._held = False
        read = database.read

        def held(fn: Callable[..., Any], **how: Any) -> Any:
            result = read(fn, **how)
            if not self._held:
                self._held = True
                self.reached.set()
                assert self._open.wait(60)
            return result

        monkeypatch.setattr(database, "read", held)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)

    def open(self) -> None:
        self._open.set()


def away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database can no longer be reached."""

    def fail(_fn: object, **_how: object) -> Any:
        raise unavailable(OSError("gone"))

    monkeypatch.setattr(database, "read", fail)


# --- Loads against invalidations


@pytest.mark.parametrize("how", ["local", "polled"])
async def test_load_that_an_invalidation_overtook_is_thrown_away(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY, InlinePolicy(ACCOUNT, DEPLOY.id, "p", ALLOW, NOW))
    directory = await follow(ours)
    with monkeypatch.context() as patch:
        gate = Gate(ours, patch)
        loading = asyncio.create_task(directory.role(ACCOUNT, "Deploy"))
        await gate.wait()
        changes = write(theirs, lambda tx: tx.replace(InlinePolicy(ACCOUNT, DEPLOY.id, "p", DENY, NOW)))
        if how == "local":
            directory.apply_local(changes)
        else:
            await directory.refresh()
        gate.open()
        view = await loading
    assert view is not None
    assert view.principal.identity[0].document.text == DENY
    cached = await directory.role_by_id(DEPLOY.id)
    assert cached is view


async def test_absence_that_an_insert_overtook_is_not_remembered(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    with monkeypatch.context() as patch:
        gate = Gate(ours, patch)
        loading = asyncio.create_task(directory.role(ACCOUNT, "Deploy"))
        await gate.wait()
        directory.apply_local(insert(theirs, DEPLOY))
        gate.open()
        assert await loading is not None


async def test_load_from_another_life_of_the_database_is_read_again(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY)
    directory = await follow(ours)
    old = directory.seen()
    with theirs.write_transaction() as conn:
        renew_epoch(conn)
    assert await directory.role(ACCOUNT, "Deploy") is not None
    assert directory.seen().epoch == theirs.epoch() != old.epoch


async def test_load_begun_before_a_flush_is_not_taken_in(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch and position of the load fit again after the flush; only its age tells."""
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY)
    directory = await follow(ours)
    with monkeypatch.context() as patch:
        gate = Gate(ours, patch)
        loading = asyncio.create_task(directory.role(ACCOUNT, "Deploy"))
        await gate.wait()
        write(theirs, lambda tx: tx.delete(DEPLOY))
        directory._cache.flush(directory.seen().position)
        gate.open()
        assert await loading is None


def fresh() -> Freshness:
    freshness = Freshness(lambda: 0.0, 900, 60)
    freshness.polled(0.0, frozenset())
    return freshness


def test_many_invalidations_during_a_load_stay_bounded_and_are_not_forgotten() -> None:
    cache = ViewCache(10, 10, 1.0, lambda: 0.0, fresh())
    cache.begin_load()
    generation = cache.generation
    cache.invalidate(["wanted"], 5)
    cache.invalidate((f"k{number}" for number in range(20_000)), 6)
    assert len(cache._recent) <= 10_001
    assert cache.overtaken(generation, 4, ["wanted"])


def test_cache_keeps_no_trace_of_dropped_views() -> None:
    cache = ViewCache(50, 10, 1.0, lambda: 0.0, fresh())
    for number in range(200):
        cache.put(f"v{number}", object(), ("shared", f"own{number}"))
    assert len(cache) == 50
    cache.invalidate(["own199"], 1)
    assert cache.get("v199") is MISSING
    assert cache.get("v198") is not MISSING
    cache.invalidate(["shared"], 2)
    assert len(cache) == 0
    assert not cache._holders


# --- Polls


async def test_refresh_during_a_poll_waits_for_one_that_begins_later() -> None:
    """A poll in flight may have read before the change that the caller must see."""
    begun: list[int] = []
    gates: list[asyncio.Event] = []

    async def job() -> None:
        begun.append(len(begun))
        gates.append(asyncio.Event())
        await gates[-1].wait()

    polls = Coalesced(job)
    first = asyncio.create_task(polls.run())
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(polls.run()) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert begun == [0]
    gates[0].set()
    await first
    await asyncio.sleep(0.01)
    assert begun == [0, 1]
    assert not any(task.done() for task in later)
    gates[1].set()
    await asyncio.gather(*later)
    assert begun == [0, 1]


async def test_failed_poll_fails_its_callers_and_not_the_next() -> None:
    outcomes = iter([RuntimeError("once"), None])

    async def job() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    polls = Coalesced(job)
    results = await asyncio.gather(polls.run(), polls.run(), return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError, RuntimeError]
    await polls.run()


async def test_refresh_sees_what_was_committed_before_it_was_called(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    assert await directory.role(ACCOUNT, "Deploy") is None
    with monkeypatch.context() as patch:
        gate = Gate(ours, patch)
        early = asyncio.create_task(directory.refresh())
        await gate.wait()  # its snapshot is read; the change comes after
        insert(theirs, DEPLOY)
        late = [asyncio.create_task(directory.refresh()) for _ in range(20)]
        await asyncio.sleep(0.01)
        gate.open()
        assert not await early
        assert all(await asyncio.gather(*late))
    assert await directory.role(ACCOUNT, "Deploy") is not None
    assert not await directory.refresh()


async def test_refreshes_of_a_flood_keep_a_pause_between_polls(
    database: Database, directory: Directory, recorder: Recorder
) -> None:
    before = recorder.seconds
    for _ in range(10):
        await directory.refresh()
    assert recorder.seconds - before >= 10 * 0.005 - 1e-6


# --- Following


async def test_another_epoch_flushes_everything(opener: Opener, follow: Follower) -> None:
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY, user("alice"))
    directory = await follow(ours)
    await directory.role(ACCOUNT, "Deploy")
    await directory.user(user("alice").id)
    with theirs.write_transaction() as conn:
        renew_epoch(conn)
    assert directory.entries == 4  # a user has one by id and one by name
    assert await directory.refresh()
    assert directory.entries == 0
    assert directory.seen() == (theirs.epoch(), 2)


async def test_cursor_older_than_the_pruned_feed_flushes_everything(opener: Opener, follow: Follower) -> None:
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY)
    directory = await follow(ours)
    assert await directory.role(ACCOUNT, "Deploy") is not None
    write(theirs, lambda tx: tx.delete(DEPLOY), now=NOW)
    insert(theirs, revocation("role", DEPLOY.id), now=NOW)
    with theirs.write_transaction() as conn:
        prune(conn, NOW + 1)
    assert await directory.refresh()
    assert await directory.role(ACCOUNT, "Deploy") is None
    assert directory.seen().position == 3
    assert directory.revocations == 1


async def test_far_behind_starts_over_instead_of_reading_every_change(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daypass.stores.applied_feed.MANY_CHANGES", 3)
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY)
    directory = await follow(ours)
    assert await directory.role(ACCOUNT, "Deploy") is not None
    write(theirs, lambda tx: tx.delete(DEPLOY))
    insert(theirs, *(user(f"u{number}") for number in range(4)))
    await directory.refresh()
    assert (directory.entries, directory.seen().position) == (0, 6)


async def test_local_write_moves_the_cursor_only_where_nothing_is_left_out(opener: Opener, follow: Follower) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    directory.apply_local(insert(ours, user("a")))
    assert directory.seen().position == 1
    fact = revocation("role", DEPLOY.id)
    insert(theirs, fact)  # position 2, not polled yet
    directory.apply_local(insert(ours, user("b")))  # position 3
    assert directory.seen().position == 1
    await directory.refresh()
    assert directory.seen().position == 3
    assert directory.revocations == 1


async def test_two_processes_on_the_same_data_see_each_other(url: str, opener: Opener, follow: Follower) -> None:
    database = opener()
    directory = await follow(database)
    assert await directory.user(user("bob").id) is None
    script = (
        "import sys\n"
        "from daypass.stores.engine import open_database\n"
        "from tests.contract.making import insert, user\n"
        "database = open_database(sys.argv[1])\n"
        "insert(database, user('bob'))\n"
        "database.close()\n"
    )
    root = Path(__file__).parents[2]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, url], cwd=root, check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert await directory.refresh()
    assert await directory.user(user("bob").id) == await directory.user(user("bob").id) is not None


# --- The database away


async def test_database_away_serves_what_is_known_and_says_what_is_not(
    database: Database, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(database, DEPLOY)
    await directory.refresh()
    assert await directory.role(ACCOUNT, "Deploy") is not None
    assert await directory.role_by_id("AROADELETED") is None
    away(database, monkeypatch)
    assert await directory.role(ACCOUNT, "Deploy") is not None
    assert await directory.role_by_id("AROADELETED") is None  # known to be deleted
    for unknown in (directory.role_by_id("AROAUNKNOWN"), directory.refresh()):
        with pytest.raises(DaypassError) as caught:
            await unknown
        assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_staleness_counts_from_the_last_good_poll_and_ends_service(
    database: Database, follow: Follower, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(database, DEPLOY)
    directory = await follow(database, max_staleness_seconds=900)
    await directory.role(ACCOUNT, "Deploy")
    claims = session(directory.seen(), DEPLOY.id)
    recorder.seconds += 800
    await directory.refresh()
    recorder.seconds += 800
    with monkeypatch.context() as patch:
        away(database, patch)
        with pytest.raises(DaypassError):
            await directory.refresh()
        assert directory.staleness_seconds() == pytest.approx(800, abs=1)
        assert await directory.role(ACCOUNT, "Deploy") is not None
        recorder.seconds += 101
        for stale in (
            lambda: directory.role(ACCOUNT, "Deploy").send(None),
            lambda: directory.revoked(claims),
            lambda: directory.blocked(claims.hops, "", NOW),
        ):
            with pytest.raises(DaypassError) as caught:
                stale()
            assert caught.value.kind is ErrorKind.UNAVAILABLE
    await directory.refresh()
    assert await directory.role(ACCOUNT, "Deploy") is not None


async def test_poller_lives_through_anything_and_catches_up(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours, poll_seconds=0.25)
    with monkeypatch.context() as patch:
        away(ours, patch)
        await asyncio.sleep(0.05)
        patch.setattr(ours, "read", lambda _fn, **_how: 1 / 0)
        await asyncio.sleep(0.05)
    insert(theirs, DEPLOY)
    await eventually(lambda: directory.seen().position)
    assert directory.seen().position == 1


async def test_poll_that_hangs_fails_after_its_time(
    database: Database, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        directory, "_tuning", type(directory._tuning)(poll_timeout_seconds=0.05, monotonic=lambda: 1000.0)
    )
    gate = Gate(database, monkeypatch)
    with pytest.raises(DaypassError) as caught:
        await directory.refresh()
    gate.open()
    assert caught.value.kind is ErrorKind.UNAVAILABLE


# --- Revocations and `seen`


async def test_seen_is_never_ahead_of_what_was_applied(opener: Opener, follow: Follower) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    fact = insert(theirs, revocation("role", DEPLOY.id))[0].revocation
    assert fact is not None
    early = session(directory.seen(), DEPLOY.id)
    assert directory.seen().position < fact.position
    assert directory.revoked(early) is None  # not known here yet
    await directory.refresh()
    assert directory.seen().position >= fact.position
    assert directory.revoked(early) == fact


async def test_session_whose_seen_was_taken_before_reading_dies_with_the_revocation(
    opener: Opener, follow: Follower
) -> None:
    """The role is read before the revocation lands, the session is issued after: `seen` must be the one from before."""
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY)
    directory = await follow(ours)
    seen = directory.seen()
    assert await directory.role(ACCOUNT, "Deploy") is not None
    insert(theirs, revocation("role", DEPLOY.id))
    await directory.refresh()
    issued_late = session(seen, DEPLOY.id, issued_at=NOW + 60_000)  # clocks do not help
    taken_after = session(directory.seen(), DEPLOY.id, issued_at=NOW + 60_000)
    assert directory.revoked(issued_late) is not None
    assert directory.revoked(taken_after) is None


async def test_local_revocation_is_obeyed_at_once(database: Database, directory: Directory) -> None:
    claims = session(directory.seen(), DEPLOY.id)
    assert directory.revoked(claims) is None
    directory.apply_local(insert(database, revocation("role", DEPLOY.id, block=True)))
    assert directory.revoked(claims) is not None
    assert directory.blocked(claims.hops, "", NOW) is not None


async def test_revocations_are_loaded_at_start_unless_they_are_spent(opener: Opener, follow: Follower) -> None:
    database = opener()
    old = NOW - 30 * 86_400_000
    insert(
        database,
        revocation("role", "AROASPENT", created_at=old),
        revocation("role", "AROABLOCKED", created_at=old, block=True),
        revocation("role", "AROANEW"),
        revocation("role", "AROAENDED", created_at=old, block=True, block_until=old + 1),
    )
    directory = await follow(database)
    assert directory.revocations == 2


async def test_spent_revocations_are_forgotten_in_time(
    database: Database, directory: Directory, recorder: Recorder
) -> None:
    directory.apply_local(insert(database, revocation("role", DEPLOY.id)))
    assert directory.revocations == 1
    recorder.wall += 30 * 86_400_000
    await directory.refresh()
    assert directory.revocations == 0


async def test_spent_revocations_are_pruned_from_the_database_in_time(
    database: Database, follow: Follower, directory: Directory, recorder: Recorder
) -> None:
    insert(database, revocation("role", DEPLOY.id), revocation("role", "AROABLOCKED", block=True))
    await directory.refresh()
    recorder.wall += 7 * 86_400_000 + 1  # every process has forgotten it by now; the database keeps it for a day more
    await directory.refresh()
    await directory.stop()
    assert read(database, lambda tx: tx.count(Revocation)) == 2
    recorder.wall += 86_400_000
    await follow(database)
    await eventually(lambda: read(database, lambda tx: tx.count(Revocation)) == 1)
    assert [one.value for one in read(database, lambda tx: tx.find(Revocation))] == ["AROABLOCKED"]


async def test_lifted_block_reaches_a_process_that_polls_and_what_it_ended_stays_ended(
    opener: Opener, follow: Follower
) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    claims = session(directory.seen(), DEPLOY.id)
    insert(theirs, revocation("role", DEPLOY.id, block=True))
    await directory.refresh()
    assert directory.blocked(claims.hops, "", NOW) is not None
    made = read(theirs, lambda tx: tx.find(Revocation))[0]
    write(theirs, lambda tx: tx.replace(replace(made, block_until=NOW)))
    await directory.refresh()
    assert directory.blocked(claims.hops, "", NOW) is None
    assert directory.revoked(claims) is not None
    assert directory.revocations == 1
    assert directory.revoked(session(directory.seen(), DEPLOY.id)) is None, "a session made after it lives"


async def test_revocation_of_an_unknown_kind_does_not_stop_the_others(database: Database, directory: Directory) -> None:
    insert(database, revocation("planet", "mars"), revocation("role", DEPLOY.id))
    await directory.refresh()
    assert directory.revocations == 1


def forget_all(database: Database) -> None:
    """The database becomes what a restored backup looks like."""
    with database.write_transaction() as conn:
        for table in ("revocations", "feed"):
            conn.exec_driver_sql(f"DELETE FROM {table}")
        conn.exec_driver_sql("UPDATE feed_counter SET position = 0")
        renew_epoch(conn)


async def test_a105_revocation_outlives_the_database_that_forgot_it(
    opener: Opener, follow: Follower, recorder: Recorder
) -> None:
    """A restored database lacks the revocation; whoever still knows it obeys it and puts it back."""
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    claims = session(directory.seen(), DEPLOY.id)
    directory.apply_local(insert(ours, user("a"), revocation("role", DEPLOY.id)))
    forget_all(theirs)
    assert await directory.refresh()
    assert directory.revoked(claims) is not None
    afresh = session(directory.seen(), "AROAOTHER")
    assert directory.revoked(afresh) is None
    await eventually(lambda: theirs.read(feed_head).position)
    second = await follow(theirs)
    assert second.revoked(claims) is not None
    await directory.refresh()
    assert directory.revocations == 1


async def test_a341_revocation_that_could_not_be_put_back_is_put_back_after_the_next_poll(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection for it was one that the failover had broken."""
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    directory.apply_local(insert(ours, revocation("role", DEPLOY.id)))
    forget_all(theirs)
    tried = asyncio.Event()

    def fail(*_: object) -> None:
        asyncio.run_coroutine_threadsafe(_set(tried), loop)
        raise unavailable(OSError("server closed the connection"))

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(directory_module, "restore_revocations", fail)
    await directory.refresh()
    await tried.wait()
    monkeypatch.undo()
    for _ in range(6_000):
        await directory.refresh()
        if theirs.read(feed_head).position:
            break
        await asyncio.sleep(0.01)
    assert [each.value for each in read(theirs, lambda tx: tx.find(Revocation))] == [DEPLOY.id]


async def test_a359_many_lost_revocations_are_put_back_some_after_each_poll(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A359: to put all of them back took longer than a poll may take, failed for that, and was tried after every poll."""
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    values = {f"AROA{number}" for number in range(2 * RESTORED_AT_ONCE + 1)}
    directory.apply_local(insert(ours, *(revocation("role", value) for value in sorted(values))))
    forget_all(theirs)
    sizes: list[int] = []

    def count(database: Database, lost: Sequence[Revocation], now: int) -> None:
        sizes.append(len(lost))
        if len(sizes) == 1:
            raise unavailable(OSError("server closed the connection"))
        restore_revocations(database, lost, now)

    monkeypatch.setattr(directory_module, "restore_revocations", count)
    for _ in range(6_000):
        await directory.refresh()
        if len(sizes) >= 4 and theirs.read(feed_head).position == len(values):
            break
        await asyncio.sleep(0.01)
    assert sizes == [RESTORED_AT_ONCE, RESTORED_AT_ONCE, RESTORED_AT_ONCE, 1]
    assert {each.value for each in read(theirs, lambda tx: tx.find(Revocation))} == values


async def test_a359_revocations_that_several_failovers_have_lost_wait_once(
    opener: Opener, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A359: an address that leads to two databases in turn, of which one cannot be written, made the list grow forever."""
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    directory.apply_local(insert(ours, *(revocation("role", f"AROA{n}") for n in range(RESTORED_AT_ONCE + 1))))
    waiting: list[int] = []

    def fail(*_: object) -> None:
        waiting.append(len(directory._lost))
        raise unavailable(OSError("read only"))

    monkeypatch.setattr(directory_module, "restore_revocations", fail)
    for failover in range(1, 5):
        forget_all(theirs)
        await directory.refresh()
        await eventually(lambda failover=failover: len(waiting) >= failover and len(directory._lost) > RESTORED_AT_ONCE)
    assert waiting == [1] * 4
    assert len(directory._lost) == RESTORED_AT_ONCE + 1


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a105_renewed_revocation_outlives_a_database_that_has_its_earlier_state(
    opener: Opener, follow: Follower, recorder: Recorder
) -> None:
    """The database is restored to a time when the block was lifted: whoever knows that it was renewed puts that back."""
    ours, theirs = opener(), opener()
    directory = await follow(ours)
    directory.apply_local(insert(ours, revocation("role", DEPLOY.id, block=True, issued_before=NOW)))
    with theirs.write_transaction() as conn:
        conn.exec_driver_sql(f"UPDATE revocations SET issued_before = {NOW - 9_000}, block_until = {NOW - 5_000}")
        conn.exec_driver_sql("DELETE FROM feed")
        conn.exec_driver_sql("UPDATE feed_counter SET position = 0")
        renew_epoch(conn)
    assert await directory.refresh()
    hops = session(directory.seen(), DEPLOY.id).hops
    assert directory.blocked(hops, "", NOW) is not None
    await eventually(lambda: theirs.read(feed_head).position)
    second = await follow(theirs)
    assert second.blocked(hops, "", NOW) is not None
    await directory.refresh()
    assert directory.revocations == 1


async def test_feed_that_goes_backwards_is_another_life(opener: Opener, follow: Follower) -> None:
    ours, theirs = opener(), opener()
    insert(theirs, DEPLOY, user("a"), user("b"))
    directory = await follow(ours)
    assert await directory.role(ACCOUNT, "Deploy") is not None
    before = directory.seen()
    with theirs.write_transaction() as conn:
        conn.exec_driver_sql("UPDATE feed_counter SET position = 1")
        conn.exec_driver_sql("DELETE FROM feed WHERE position > 1")
        conn.exec_driver_sql("DELETE FROM roles")
    assert await directory.refresh()
    assert directory.seen() == (theirs.epoch(), 1)
    assert directory.seen().epoch != before.epoch
    assert await directory.role(ACCOUNT, "Deploy") is None
    assert directory.revoked(session(before, DEPLOY.id)) is None
    directory.apply_local(insert(ours, revocation("role", DEPLOY.id)))
    assert directory.revoked(session(before, DEPLOY.id)) is not None  # though its position was 3, this one's is 2
