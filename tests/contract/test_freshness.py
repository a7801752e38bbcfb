"""Until when a process without the database may serve: its data, and what it knows of revocations."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.contract.conftest import Follower, Opener
from tests.contract.making import ACCOUNT, NOW, Recorder, insert, revocation, session
from tests.contract.test_races import DEPLOY, away
from tests.patience import SECONDS

from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError
from daypass.domain.session import FeedPosition
from daypass.ports.record import FeedState
from daypass.server.nodes import Peers
from daypass.stores.cache import Freshness, OwnSessions
from daypass.stores.engine import Database
from daypass.stores.feed import FeedChange
from daypass.stores.log_heads import FeedHead
from daypass.stores.nodes import listed_nodes, remove_node, report_node
from daypass.stores.revocation_feed import RevocationCache, RevocationFeed


def freshness(now: float = 1000.0) -> Freshness:
    return Freshness(lambda: now, 900.0, 60.0)


# --- The limits


def test_freshness_of_a_single_process_is_max_staleness_from_the_start() -> None:
    known = freshness()
    known.polled(1000.0, frozenset())
    assert (known.directory_until, known.revocations_until) == (1900.0, 1900.0)


def test_freshness_with_other_processes_is_shorter_for_revocations() -> None:
    known = freshness()
    known.polled(1000.0, frozenset({"a", "b"}))
    assert (known.directory_until, known.revocations_until) == (1900.0, 1060.0)


def test_freshness_is_extended_by_heartbeats_of_all_listed_processes_alone() -> None:
    known = freshness()
    known.polled(1000.0, frozenset({"a", "b"}))
    known.note_contact("a", 1050.0)
    known.note_contact("stranger", 1055.0)
    assert known.revocations_until == 1060.0
    known.note_contact("b", 1040.0)
    assert known.revocations_until == 1100.0, "from the one that was heard last"
    known.note_contact("a", 1899.0)
    known.note_contact("b", 1899.0)
    assert known.revocations_until == 1900.0, "never beyond max_staleness"


def test_freshness_of_a_heartbeat_does_not_outlive_the_registry() -> None:
    known = freshness()
    known.polled(1000.0, frozenset({"a"}))
    known.note_contact("a", 1500.0)
    known.polled(1001.0, frozenset({"a", "b"}))
    assert known.revocations_until == 1061.0


def test_own_sessions_are_bounded_and_forget_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daypass.stores.cache._MAX_OWN", 2)
    own = OwnSessions()
    for name in ("a", "b", "c"):
        own.add(name)
    assert [name in own for name in ("a", "b", "c")] == [False, True, True]


# --- The registry


def test_nodes_are_listed_until_they_leave_or_are_silent(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(database), "clock", lambda *_: None)
    report_node(database, "a", "host-a", NOW)
    report_node(database, "b", "host-b", NOW + 1_000)
    assert database.read(listed_nodes) == {"a", "b"}
    report_node(database, "b", "host-b", NOW + 32_000)
    assert database.read(listed_nodes) == {"b"}, "a has not written its row for half a minute"
    report_node(database, "a", "host-a", NOW + 33_000)
    remove_node(database, "b")
    assert database.read(listed_nodes) == {"a"}


LIMITS = {"max_staleness_seconds": 900, "revocation_staleness_seconds": 60}


async def test_revoked_is_not_known_when_another_process_is_listed_and_silent(
    database: Database, follow: Follower, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(database, DEPLOY)
    report_node(database, "self", "host", NOW)
    report_node(database, "other", "host", NOW)
    directory = await follow(database, **LIMITS, node="self")
    await directory.role(ACCOUNT, "Deploy")
    claims = session(directory.seen(), DEPLOY.id)
    away(database, monkeypatch)
    recorder.seconds += 59
    assert directory.revoked(claims) is None
    recorder.seconds += 2
    for refused in (lambda: directory.revoked(claims), lambda: directory.blocked(claims.hops, "", NOW)):
        with pytest.raises(DaypassError, match="have been revoked is not known"):
            refused()
    assert await directory.role(ACCOUNT, "Deploy") is not None, "the directory has its own limit"
    directory.freshness.note_contact("other", recorder.seconds)
    assert directory.revoked(claims) is None


async def test_revoked_of_own_sessions_is_answered_beyond_the_limit_if_configured(
    database: Database, follow: Follower, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnSessions()
    report_node(database, "other", "host", NOW)
    directory = await follow(database, **LIMITS, node="self", own=own)
    claims = session(directory.seen(), "AROAX")
    away(database, monkeypatch)
    recorder.seconds += 61
    with pytest.raises(DaypassError):
        directory.revoked(claims)
    own.add(claims.session_id)
    assert directory.revoked(claims) is None
    with pytest.raises(DaypassError):
        directory.blocked(claims.hops, "", NOW)  # the first hop has no session of this process
    recorder.seconds += 900
    with pytest.raises(DaypassError, match=r"older than 900 s"):
        directory.revoked(claims)


# --- Processes on one machine


async def test_peers_revocation_without_database_reaches_the_other_process(
    opener: Opener, follow: Follower, recorder: Recorder, tmp_path: Path
) -> None:
    recorder.seconds = time.monotonic()  # the time of files is real, too
    database = opener()
    report_node(database, "one", "host", NOW)
    report_node(database, "two", "host", NOW)
    ours = await follow(database, **LIMITS, node="one")
    theirs = await follow(opener(), **LIMITS, node="two")
    one, two = Peers(tmp_path, "one", ours), Peers(tmp_path, "two", theirs)
    made = Revocation("r" * 32, ACCOUNT, "role", "AROAX", NOW, NOW, block=True)
    one.poll()
    two.poll()
    one.publish([FeedChange(0, "revocations", ACCOUNT, (), made), FeedChange(7, "roles", ACCOUNT, ())])
    before = theirs.freshness.revocations_until
    two.poll()
    assert theirs.revoked(session(theirs.seen(), "AROAX")) == made
    assert theirs.freshness.revocations_until >= before
    assert list(theirs.feed.everything()) == [made]
    two.poll()
    one.close()
    assert not (tmp_path / "one.peer").exists()


async def test_h8_problem_of_one_process_is_known_to_the_others_while_it_runs(
    database: Database, follow: Follower, recorder: Recorder, tmp_path: Path
) -> None:
    recorder.seconds = time.monotonic()
    directory = await follow(database, **LIMITS, node="one")
    problem = ["the audit log is halted"]
    one, two = Peers(tmp_path, "one", directory, lambda: problem[0]), Peers(tmp_path, "two", directory)
    one.poll()
    two.poll()
    assert (one.problems(), two.problems()) == ([], ["another process: the audit log is halted"])
    problem[0] = ""
    one.poll()
    two.poll()
    assert two.problems() == []
    problem[0] = "again"
    one.poll()
    one.close()
    two.poll()
    assert two.problems() == []


async def test_peers_that_are_silent_or_unreadable_do_not_count_as_heard(
    database: Database, follow: Follower, recorder: Recorder, tmp_path: Path
) -> None:
    report_node(database, "gone", "host", NOW)
    directory = await follow(database, **LIMITS, node="self")
    heard: list[str] = []
    directory.freshness.note_contact = lambda node, _: heard.append(node)  # type: ignore[method-assign]
    peers = Peers(tmp_path, "self", directory)
    gone = tmp_path / "gone.peer"
    gone.touch()
    os.utime(gone, (time.time() - 60, time.time() - 60))
    peers.poll()
    gone.write_bytes(b"nonsense\n")
    peers.poll()
    assert heard == []
    gone.write_bytes(b"")
    version = directory._applied.version
    peers.poll()
    assert heard == ["gone"]
    assert directory._applied.version == version, "a heartbeat alone changes nothing"


BEFORE = FeedPosition("before", 500)


def test_kept_revocation_kills_the_old_life_and_spares_the_new() -> None:
    """Its position belongs to the old life's count; in the new one it must not reach sessions issued there."""
    book = RevocationCache()
    book.start_over([], FeedHead("before", 0, 0), NOW)
    book.add([revocation("role", "AROA1", position=400)])
    lost = book.start_over([], FeedHead("after", 7, 0), NOW)
    assert [one.value for one in lost] == ["AROA1"]
    assert book.index.revoked(session(BEFORE, "AROA1")) is not None
    assert book.index.revoked(session(FeedPosition("after", 7), "AROA1")) is None


def test_revocation_that_the_database_still_has_is_not_lost() -> None:
    book = RevocationCache()
    fact = revocation("role", "AROA1", position=4)
    book.add([fact])
    assert book.start_over([fact], FeedHead("after", 4, 0), NOW) == []
    assert len(book) == len(book.index) == 1


def test_spent_revocation_is_not_kept() -> None:
    book = RevocationCache()
    book.add([revocation("role", "AROA1", position=4)])
    assert book.start_over([], FeedHead("after", 4, 0), NOW + 30 * 86_400_000) == []
    assert len(book) == 0


def test_add_of_an_earlier_state_does_not_undo_a_renewed_block() -> None:
    """A poll whose snapshot is older than a local change reads the block as it was when it was lifted."""
    book = RevocationCache()
    book.start_over([], FeedHead("now", 0, 0), NOW)
    lifted = revocation("role", "AROA1", position=5, block=True, block_until=NOW - 1)
    renewed = revocation("role", "AROA1", position=7, block=True, issued_before=NOW)
    book.add([renewed])
    book.add([lifted])
    hops = session(FeedPosition("now", 7), "AROA1").hops
    assert book.index.blocked(hops, "", NOW) == renewed


@pytest.mark.parametrize("event_first", [True, False])
async def test_wait_for_a_revocation_that_is_cancelled_as_it_ends_stays_cancelled(*, event_first: bool) -> None:
    """A server that stops cancels its followers; one that missed it would keep the process running."""
    feed = RevocationFeed(RevocationCache(), lambda: FeedState(FeedPosition("now", 0), 0))

    async def follow() -> None:
        while True:
            await feed.changed(feed.version, 60.0)

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    steps = [feed._wake, follower.cancel]
    for step in steps if event_first else reversed(steps):
        step()
    done, _ = await asyncio.wait([follower], timeout=SECONDS)
    assert done
    assert follower.cancelled()
