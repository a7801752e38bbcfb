"""The database is unavailable: events go to the local spool, and come to the database in order, each exactly once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text
from structlog.testing import capture_logs
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import (
    ACCOUNT,
    Flaky,
    SettableClock,
    bodies_of,
    deadline,
    event,
    requests_of,
    rows_of,
    session,
    session_ids,
    verified,
)
from tests.integration.audit.test_doubt import _fail_to_commit, lose_a_record, tamper
from tests.integration.audit.test_journal import accounts, add_account
from tests.integration.audit.test_lost import disconnect, fail_over
from tests.patience import eventually

from daypass.audit import drain as drainer
from daypass.audit import spool_sink
from daypass.audit.columns import altered_log_column
from daypass.audit.completeness import process_logs
from daypass.audit.drain import Drainer
from daypass.audit.journal import Journal
from daypass.audit.recent import RecentBatches
from daypass.audit.sink import Pauses
from daypass.audit.spool import Spool, SpoolDirectory
from daypass.audit.verify import BadRecord, Gap, VerifiedLog
from daypass.cli.record import OfflineRecord, PostgresRecord
from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType, decode
from daypass.ports import Offline
from daypass.ports.clock import MAX_JUMP_MS
from daypass.stores import meta
from daypass.stores.feed import FeedChange
from daypass.stores.meta import missing_events
from daypass.stores.records import audit_records
from daypass.stores.tx import StoreReader

QUICK = {"outage_seconds": 0.2, "idle_seconds": 0.2}


class Signer:
    """Signs with one fixed key."""

    def __init__(self, key: bytes = b"key") -> None:
        self.key = key

    def sign(self, data: bytes) -> tuple[str, bytes]:
        return "k1", hmac.digest(self.key, data, hashlib.sha256)

    def verify(self, key_id: str, data: bytes, signature: bytes) -> bool:
        if key_id != "k1":
            raise LookupError(key_id)
        return hmac.compare_digest(self.sign(data)[1], signature)


@pytest.fixture
def place(tmp_path: Path) -> SpoolDirectory:
    return SpoolDirectory(tmp_path / "spool", 1_000_000, Signer())


async def returned(journal: Journal) -> None:
    """Waits until the outage is over."""
    await eventually(lambda: journal.outage is None)


async def recorded(database: Any, kind: EventType) -> list[dict[str, Any]]:
    """The events of this type, of all logs; waits for the first."""
    query = select(audit_records.c.log).where(audit_records.c.type == kind.value)
    logs: set[str] = set()
    await eventually(lambda: logs.update(database.read(lambda conn: conn.execute(query).scalars().all())) or logs)
    return [body for log in logs for body in bodies_of(database, log) if body["type"] == kind]


async def accepts(journal: Journal) -> None:
    """Waits until the journal takes items again."""
    await eventually(lambda: not journal.problem())


def files(place: SpoolDirectory) -> list[str]:
    return sorted(path.suffix for path in place.directory.glob("*"))


def kill(journal: Journal) -> None:
    """The state after a kill: the files as they are, and no lock."""
    sink = journal.spool
    assert sink is not None
    assert sink._own is not None
    sink._stop.set()
    sink._wake.set()
    sink._thread.join()
    os.close(sink._own._lock_fd)
    sink._own._conn.close()
    sink._own = None
    sink._name = ""
    journal._accepting = False
    journal._writer.queue.end()
    journal._thread.join()


# --- An outage


async def test_commit_during_outage_is_spooled_and_drained_in_order(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    await journal.commit(event("0"), session(f"{0:032x}"))
    flaky.always = "refuse"
    for number in range(1, 40):
        await journal.commit(event(str(number)), session(f"{number:032x}"))
    assert requests_of(flaky, journal.log)[1:] == ["0"]
    assert journal.outage is not None
    assert "away" in journal.outage.cause
    assert journal.spool is not None
    assert journal.spool.depth[0] == 39
    assert place.undrained() == 1  # as any other process of the node counts it
    assert journal.problem() == ""
    flaky.always = ""
    await returned(journal)
    await journal.commit(event("back"))
    found = requests_of(flaky, journal.log)[1:]
    assert [request for request in found if request] == [*map(str, range(40)), "back"]
    assert len(session_ids(flaky)) == 40
    verified(flaky, journal.log)
    assert journal.spool.depth == (0, 0)
    assert place.undrained() == 0
    (drained,) = await recorded(flaky, EventType.SPOOL_DRAINED)
    assert (drained["detail"]["events"], drained["detail"]["adopted"]) == (39, False)


async def test_outage_that_begins_again_at_once_is_tried_less_often(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    """A full disk takes the small write of a probe, and not the next batch."""
    journal = await start(spool=place, options=QUICK)
    pauses = []
    for number in range(4):
        flaky.faults.append("before")
        await journal.commit(event(str(number)))
        assert journal.spool is not None
        pauses.append(journal.spool._pauses.seconds)
        await returned(journal)
    assert pauses == [0.25, 0.5, 1.0, 2.0]


def test_pauses_of_outages_that_follow_one_another_grow_to_a_limit_and_start_anew_later() -> None:
    pauses, now = Pauses(), 100.0
    for _ in range(9):
        pauses.began(now)
        pauses.ended(now + 1)
        now += 2
    assert pauses.seconds == 4.0
    pauses.began(now + 60)
    assert pauses.seconds == 0.25


async def test_commit_while_the_spool_is_drained_never_overtakes_it(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    sent = 0

    async def load(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            sent += 1
            await journal.commit(event(str(sent)))

    await load(50)
    flaky.always = ""
    while journal.outage is not None:
        await load(1)
    await load(20)
    found = [request for request in requests_of(flaky, journal.log)[1:] if request]
    assert found == [str(number) for number in range(1, sent + 1)]
    verified(flaky, journal.log)


async def test_commits_that_arrive_faster_than_the_drain_wait_for_it(
    start: Starter, flaky: Flaky, place: SpoolDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the spool would fill while the database is available, and every request would be refused."""
    journal = await start(spool=place, options=QUICK)
    drain_chunk, sent = Drainer.chunk, 0

    def slow(sink: Drainer, spool: Spool, *, small: bool = False) -> bool:
        """Waits until more has arrived than it drains, or nothing can arrive any more."""
        until, more = time.monotonic() + 0.1, spool.events + 50
        while spool.events < more and time.monotonic() < until:
            time.sleep(0.005)
        return drain_chunk(sink, spool, small=small)

    async def load() -> None:
        nonlocal sent
        while journal.outage is not None:
            sent += 1
            assert sent < 20_000
            await journal.commit(event(str(sent)))
            await asyncio.sleep(0.005)

    monkeypatch.setattr(Drainer, "chunk", slow)
    monkeypatch.setattr(drainer, "_CHUNK_BYTES", 12_288)
    monkeypatch.setattr(drainer, "_SMALL_CHUNK_BYTES", 12_288)
    monkeypatch.setattr(spool_sink, "_LAST_EVENTS", 30)
    flaky.always = "refuse"
    await asyncio.gather(*(journal.commit(event(f"before {n}")) for n in range(40)))
    flaky.always = ""
    await asyncio.gather(*(load() for _ in range(8)))
    assert sent
    verified(flaky, journal.log)


async def test_commit_in_doubt_goes_to_the_spool_and_is_recorded_once(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    flaky.faults.append("after")  # it is durable, and the answer is lost
    flaky.always = "refuse"
    await asyncio.gather(*(journal.commit(event(str(n)), session(f"{n:032x}")) for n in range(10)))
    await journal.commit(event("next"))
    flaky.always = ""
    await returned(journal)
    assert [r for r in requests_of(flaky, journal.log)[1:] if r] == [*map(str, range(10)), "next"]
    assert len(session_ids(flaky)) == 10
    verified(flaky, journal.log)


async def test_commit_in_doubt_that_was_lost_is_drained_from_the_spool(
    start: Starter, flaky: Flaky, place: SpoolDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await start(spool=place, options=QUICK)
    _fail_to_commit(flaky, monkeypatch, times=1)
    await journal.commit(event("again"), session("a" * 32))
    await returned(journal)
    assert requests_of(flaky, journal.log)[1] == "again"
    assert session_ids(flaky) == {"a" * 32}
    verified(flaky, journal.log)


@pytest.mark.parametrize("fault", ["after", "before"])
async def test_change_in_doubt_ends_the_log_and_another_log_continues(
    start: Starter, flaky: Flaky, place: SpoolDirectory, fault: str
) -> None:
    told: list[FeedChange] = []
    journal = await start(spool=place, options=QUICK, on_changes=told.extend)
    old = journal.log
    flaky.faults.append(fault)
    flaky.always = "refuse"
    change = asyncio.ensure_future(journal.write(add_account("one", "000000000001")))
    await asyncio.sleep(0.05)
    await journal.commit(event("during"), session("a" * 32))
    assert journal.log != old
    flaky.always = ""
    assert await change == "one"
    await journal.commit(event("end"))
    assert accounts(flaky) == {"one"}
    assert [c.kind for c in told] == ["accounts"]
    assert flaky.read(lambda conn: process_logs(conn, old).logs) == (old, journal.log)
    assert flaky.read(lambda conn: process_logs(conn, journal.log)) is None
    found = [r for log in dict.fromkeys((old, journal.log)) for r in requests_of(flaky, log) if r]
    assert sorted(found) == sorted(["one", "during", "end"])
    assert session_ids(flaky) == {"a" * 32}
    for log in (old, journal.log):
        verified(flaky, log)


async def test_change_during_a_short_outage_waits_and_is_made(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options={**QUICK, "outage_seconds": 30.0})
    flaky.always = "refuse"
    await journal.commit(event("spooled"))
    change = asyncio.ensure_future(journal.write(add_account("one", "000000000001")))
    await journal.commit(event("more"))
    assert not change.done()
    flaky.always = ""
    assert await change == "one"
    assert accounts(flaky) == {"one"}
    assert [r for r in requests_of(flaky, journal.log)[1:] if r] == ["spooled", "more", "one"]


async def test_change_during_an_outage_is_refused_with_the_reason(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    await journal.commit(event("spooled"))
    with deadline(journal, 0.3), pytest.raises(DaypassError) as late:
        await journal.write(add_account("one", "000000000001"))
    with pytest.raises(DaypassError) as at_once:
        await journal.write(add_account("one", "000000000001"))
    for refused in (late.value, at_once.value):
        assert refused.kind is ErrorKind.UNAVAILABLE
        assert "database is unavailable, and this request needs it" in refused.public
    await journal.commit(event("still served"))
    flaky.always = ""
    await returned(journal)
    assert accounts(flaky) == set()


async def test_revocation_during_an_outage_applies_at_once_and_gets_its_position_later(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    told: list[FeedChange] = []
    journal = await start(spool=place, options=QUICK, on_changes=told.extend)
    flaky.always = "refuse"
    made = Revocation("r" * 32, "000000000001", "role", "AROAX", 5, 5, block=True)

    def change(_: Any) -> Any:
        raise AssertionError("the database is away")

    offline = Offline(made, event("revoked", type=EventType.SESSION_REVOKED), made)
    assert await journal.write(change, offline=offline, urgent=True) == made
    assert [c.revocation for c in told] == [made]
    flaky.always = ""
    await returned(journal)
    stored = flaky.read(lambda conn: conn.execute(text("SELECT position, block FROM revocations")).all())
    assert [(row.position > 0, bool(row.block)) for row in stored] == [(True, True)]
    assert "revoked" in requests_of(flaky, journal.log)
    verified(flaky, journal.log)


async def test_a103_revocation_does_not_wait_for_a_process_that_keeps_the_directory_locked(
    start: Starter, flaky: Flaky, url: str, place: SpoolDirectory
) -> None:
    """A server that was cut off in the middle of a change has the lock until PostgreSQL ends its transaction."""
    if flaky.dialect != "postgresql":
        pytest.skip("SQLite has no lock of its own for the directory")
    journal = await start(spool=place, options=QUICK)
    made = Revocation("r" * 32, "000000000001", "role", "AROAX", 5, 5, block=True)
    offline = Offline(made, event("revoked", type=EventType.SESSION_REVOKED), made)

    def change(tx: Any) -> Any:
        tx.insert(made)
        return made, offline.event

    with psycopg.connect(url) as cut_off:
        cut_off.execute(f"SELECT pg_advisory_xact_lock({meta.KEY})")
        assert await journal.write(change, offline=offline, urgent=True) == made
        await journal.commit(event("still served"))
        assert journal.outage is not None
        assert "directory locked" in journal.outage.cause
    await returned(journal)
    stored = flaky.read(lambda conn: conn.execute(text("SELECT position, block FROM revocations")).all())
    assert [(row.position > 0, bool(row.block)) for row in stored] == [(True, True)]
    assert {"revoked", "still served"} <= set(requests_of(flaky, journal.log))
    verified(flaky, journal.log)


# --- The spool cannot be used


async def test_full_spool_refuses_and_serves_again_when_it_is_drained(
    start: Starter, flaky: Flaky, tmp_path: Path
) -> None:
    place = SpoolDirectory(tmp_path / "spool", 3_000, Signer())
    journal = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    acknowledged = 0
    with deadline(journal, 0.3), pytest.raises(DaypassError) as refused:
        for acknowledged in range(1_000):
            await journal.commit(event(str(acknowledged), detail={"x": os.urandom(200).hex()}))
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert acknowledged > 0
    assert "the spool is full" in journal.problem()
    flaky.always = ""
    await returned(journal)
    await accepts(journal)
    await journal.commit(event("back"))
    assert [r for r in requests_of(flaky, journal.log)[1:] if r] == [*map(str, range(acknowledged)), "back"]
    verified(flaky, journal.log)


async def test_spool_that_cannot_be_made_refuses_and_says_why(start: Starter, flaky: Flaky, tmp_path: Path) -> None:
    blocked = tmp_path / "spool"
    blocked.write_text("a file")
    journal = await start(spool=SpoolDirectory(blocked, 1_000_000, Signer()), options=QUICK)
    await journal.commit(event("direct"))
    assert journal.spool is not None
    assert "cannot be made" in journal.spool.fault
    assert str(tmp_path) not in journal.spool.fault, "/readyz shows it to anyone"
    flaky.always = "refuse"
    with deadline(journal, 0.3), pytest.raises(DaypassError):
        await journal.commit(event("refused"))
    assert "cannot be made" in journal.problem()
    blocked.unlink()
    await accepts(journal)
    await journal.commit(event("now it can"))
    flaky.always = ""
    await returned(journal)
    assert [r for r in requests_of(flaky, journal.log)[1:] if r] == ["direct", "now it can"]


# --- How far a log is complete


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_h6_recorded_until_that_a_failover_has_put_back_is_no_alarm(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    journal.note_recorded()
    tamper(flaky, "UPDATE audit_logs SET recorded_until = opened_at WHERE log = :log", log=journal.first_log)
    tamper(flaky, "UPDATE feed_counter SET epoch = 'of the new primary'")
    flaky.faults.append("refuse")
    await journal.commit(event("after the failover"))
    await returned(journal)
    with capture_logs() as logged:
        journal.note_recorded()
    assert [line for line in logged if line["event"] == "audit.recorded_until_altered"] == []


@pytest.mark.parametrize("value", ["NULL", "9000000000000"])
async def test_altered_recorded_until_of_a_running_process_is_logged_and_put_right(
    start: Starter, flaky: Flaky, place: SpoolDirectory, value: str
) -> None:
    journal = await start(spool=place, options=QUICK)

    def stated() -> int | None:
        found = flaky.read(lambda conn: process_logs(conn, journal.first_log))
        assert found is not None
        return found.recorded_until

    journal.note_recorded()
    before = stated()
    assert before is not None
    with flaky.write_transaction() as conn:
        conn.exec_driver_sql(f"UPDATE audit_logs SET recorded_until = {value} WHERE log = '{journal.first_log}'")
    with capture_logs() as logged:
        journal.note_recorded()
        journal.note_recorded()
    (line,) = [line for line in logged if line["event"] == "audit.recorded_until_altered"]
    assert (line["log"], line["log_level"], line["stated"]) == (journal.first_log, "error", before)
    after = stated()
    assert after is not None
    assert before <= after < 9_000_000_000_000


async def noted_as_ended(flaky: Flaky, log: str) -> None:
    """Waits until the record says that the log of an ended process is complete."""

    def noted() -> bool:
        found = flaky.read(lambda conn: process_logs(conn, log))
        return found is not None and found.recorded_until is None

    await eventually(noted)


async def test_end_of_a_process_that_stops_in_an_outage_with_an_empty_spool_is_noted_by_the_next(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    """Its status lists would have counted as incomplete until its sessions had expired."""
    journal = await start(spool=place, options=QUICK)
    log = journal.first_log
    journal.note_recorded()
    flaky.always = "refuse"
    await eventually(lambda: journal.outage is not None)  # begun by the probe of an idle writer
    assert journal.spool is not None
    assert journal.spool.depth == (0, 0)
    await journal.close()
    assert files(place) == [".db", ".lock"]
    flaky.always = ""
    await start(spool=place, options=QUICK)
    await noted_as_ended(flaky, log)


async def test_end_of_a_killed_process_with_an_empty_spool_is_noted_when_the_database_returns(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    log = journal.first_log
    journal.note_recorded()
    kill(journal)
    adopter = Drainer(flaky, SettableClock(), RecentBatches(fails_over=False), lambda _: None)  # type: ignore[arg-type]
    flaky.always = "refuse"
    with pytest.raises(OSError, match="away"):
        adopter.adopt(place)
    flaky.always = ""
    adopter.adopt(place)
    await noted_as_ended(flaky, log)
    assert files(place) == []


@pytest.mark.parametrize(("fast", "least"), [(240_000, 0), (MAX_JUMP_MS + 240_000, 240_000)])
async def test_a343_recorded_until_of_a_process_whose_clock_was_fast_is_the_time_of_the_database(
    start: Starter, flaky: Flaky, place: SpoolDirectory, fast: int, least: int
) -> None:
    """A343: verification took the log for altered. Without the time of the database the log would count as complete in
    an outage of the first minutes.
    """
    journal = await start(spool=place, options=QUICK)
    now = round(time.time() * 1000)
    with flaky.write_transaction() as conn:
        conn.exec_driver_sql(f"UPDATE audit_logs SET opened_at = {now + fast}, recorded_until = {now + fast}")
    journal.note_recorded()
    found = flaky.read(lambda conn: process_logs(conn, journal.first_log))
    assert found is not None
    assert found.recorded_until is not None
    assert now - 60_000 + least < found.recorded_until < now + fast
    stored = {"recorded_until": found.recorded_until, "continues": None}
    opening = {"at": now + fast, "detail": {}}
    assert altered_log_column({**stored, "opened_at": now + fast, "named_seq": -1}, opening, -1) == ""


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a340_recorded_until_is_not_stated_in_a_database_that_lacks_records_after_a_failover(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    """A340: the process writes nothing else, and has not noticed the failover."""
    journal = await start(spool=place, options=QUICK)
    await journal.commit(event("lost"))
    fail_over(flaky, journal.log, kept=0)
    disconnect(flaky)
    with pytest.raises(OSError, match="failed over"):
        journal.note_recorded()
    await journal.commit(event("after"))
    await returned(journal)
    journal.note_recorded()
    assert [r for r in requests_of(flaky, journal.log)[1:] if r] == ["lost", "after"]


async def test_recorded_until_of_a_commit_without_an_answer_is_not_taken_for_altered(
    start: Starter, flaky: Flaky, place: SpoolDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await start(spool=place, options=QUICK)
    journal.note_recorded()
    usual = spool_sink.note_recorded

    def without_answer(*given: Any) -> None:
        usual(*given)
        raise ConnectionError

    monkeypatch.setattr(spool_sink, "note_recorded", without_answer)
    await asyncio.sleep(0.002)  # the next statement is another one
    with pytest.raises(ConnectionError):
        journal.note_recorded()
    monkeypatch.undo()
    with capture_logs() as logged:
        journal.note_recorded()
    assert [line for line in logged if line["event"] == "audit.recorded_until_altered"] == []


# --- Adoption


async def test_spool_of_a_killed_process_is_adopted_by_one(start: Starter, flaky: Flaky, place: SpoolDirectory) -> None:
    killed = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    for number in range(20):
        await killed.commit(event(str(number)), session(f"{number:032x}"))
    kill(killed)
    flaky.always = ""
    await asyncio.gather(*(start(spool=place, options=QUICK) for _ in range(3)))
    (drained,) = await recorded(flaky, EventType.SPOOL_DRAINED)
    assert drained["detail"] == {"events": 20, "spool": killed.log, "missing": 0, "adopted": True}
    assert flaky.read(lambda conn: process_logs(conn, killed.log)) == ((killed.log,), None)
    assert requests_of(flaky, killed.log)[1:] == [str(number) for number in range(20)]
    assert len(session_ids(flaky)) == 20
    verified(flaky, killed.log)
    assert killed.log not in {path.stem for path in place.directory.glob("*")}


async def test_spool_is_left_for_others_when_the_database_is_away_at_the_end(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    await journal.commit(event("last"))
    await journal.close()
    assert files(place) == [".db", ".lock"]
    flaky.always = ""
    await start(spool=place, options=QUICK)
    await recorded(flaky, EventType.SPOOL_DRAINED)
    found = verified(flaky, journal.log)
    assert (found.records, found.closed) == (3, True)


async def test_close_without_outage_leaves_no_file(start: Starter, flaky: Flaky, place: SpoolDirectory) -> None:
    journal = await start(spool=place)
    await journal.commit(event("one"))
    await journal.close()
    assert files(place) == []


# --- What is not as it was written


def spool_file(place: SpoolDirectory, journal: Journal) -> sqlite3.Connection:
    return sqlite3.connect(place.directory / f"{journal.log}.db", isolation_level=None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batches SET payload = replace(payload, 'sts', 'xxx') WHERE id = 2",
        "UPDATE batches SET last = last + 1 WHERE id = 2",
        "UPDATE batches SET signature = zeroblob(32) WHERE id = 2",
        "DELETE FROM batches WHERE id = 2",
        "UPDATE batches SET log = 'ffffffffffffffffffffffffffffffff'",
        "UPDATE batches SET start = 99999999999999 WHERE id = 2",  # as a size it is more than any machine has
        "UPDATE batches SET signature = 'text' WHERE id = 2",
    ],
)
async def test_a103_altered_spool_is_set_aside_and_reported(
    start: Starter, flaky: Flaky, place: SpoolDirectory, statement: str
) -> None:
    killed = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    for number in range(4):
        await killed.commit(event(str(number)))
    kill(killed)
    with spool_file(place, killed) as conn:
        conn.execute(statement)
    conn.close()
    flaky.always = ""
    adopter = await start(spool=place, options=QUICK)
    (rejected,) = await recorded(flaky, EventType.SPOOL_REJECTED)
    assert rejected["detail"]["file"] == f"{killed.log}.db.rejected"
    assert (place.directory / f"{killed.log}.db.rejected").exists()
    assert set(requests_of(flaky, killed.log)[1:]) <= {"0"}, "what follows the altered batch is not in the database"
    verified(flaky, killed.log)
    await adopter.commit(event("served"))
    assert adopter.spool is not None
    assert adopter.spool.rejected() == [f"{killed.log}.db.rejected"]


async def test_a103_altered_spool_of_a_running_process_halts_its_log(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    for number in range(4):
        await journal.commit(event(str(number)))
    with spool_file(place, journal) as conn:
        conn.execute("UPDATE batches SET signature = zeroblob(32) WHERE id = 3")
    conn.close()
    flaky.always = ""
    await eventually(lambda: journal.spool is not None and journal.spool.rejected())
    with pytest.raises(DaypassError):
        await journal.commit(event("refused"))
    assert "halted" in journal.problem()
    assert "signature of batch 3 is wrong" in journal.problem()


async def test_a103_database_with_another_history_does_not_take_the_spool(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    killed = await start(spool=place, options=QUICK)
    await killed.commit(event("stored"))
    flaky.always = "refuse"
    await killed.commit(event("spooled"))
    kill(killed)
    flaky.always = ""
    tamper(flaky, "UPDATE audit_records SET chain = bytes WHERE log = :log AND seq = 1", log=killed.log)
    await start(spool=place, options=QUICK)
    (rejected,) = await recorded(flaky, EventType.SPOOL_REJECTED)
    assert "another history" in rejected["detail"]["why"]
    assert "spooled" not in requests_of(flaky, killed.log)


async def test_h2_database_that_lost_the_records_before_a_spool_takes_it_and_names_what_is_missing(
    start: Starter, flaky: Flaky, place: SpoolDirectory, url: str
) -> None:
    killed = await start(spool=place, options=QUICK)
    await killed.commit(event("lost"))
    await killed.commit(event("lost, too"))
    flaky.always = "refuse"
    await killed.commit(event("spooled"))
    kill(killed)
    flaky.always = ""
    tamper(flaky, "DELETE FROM audit_records WHERE log = :log AND seq > 0", log=killed.log)
    await start(spool=place, options=QUICK)
    await recorded(flaky, EventType.SPOOL_DRAINED)
    assert requests_of(flaky, killed.log)[1:] == ["spooled"]
    assert flaky.read(missing_events) == 2
    later = await start(spool=place, options=QUICK)
    opening = decode(rows_of(flaky, later.log)[0].data or b"")["detail"]
    assert (opening["heads"][0]["log"], opening["heads"][0]["seq"], opening["missing"]) == (killed.log, 2, 2)
    record = (
        PostgresRecord(url) if url.startswith("postgresql") else OfflineRecord(Path(url.removeprefix("sqlite:///")))
    )
    found = {each.log: each for each in record.verified() if isinstance(each, VerifiedLog)}[killed.log]
    assert found.gaps == (Gap(killed.log, 1, 2, opening["since"], opening["until"]),)
    assert (found.records, found.head.seq) == (2, 3), "what was spooled verifies, too"
    tamper(flaky, "UPDATE audit_records SET at = at + 1 WHERE log = :log AND seq = 3", log=killed.log)
    assert [(each.log, each.seq) for each in record.verified() if isinstance(each, BadRecord)] == [(killed.log, 3)]


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_h2_records_that_nobody_holds_after_a_failover_end_their_log_and_another_one_goes_on(
    start: Starter, flaky: Flaky, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spooled: bool
) -> None:
    monkeypatch.setattr("daypass.audit.recent.MAX_BYTES", 0)
    tamper(flaky, "INSERT INTO accounts (id, name, operator, created_at) VALUES (:id, 'one', true, 1)", id=ACCOUNT)
    spool = SpoolDirectory(tmp_path / "spool", 1_000_000, Signer()) if spooled else None
    journal = await start(spool=spool)
    first = journal.log
    await journal.commit(event("one"))
    await journal.commit(event("two"))
    lose_a_record(flaky, first)
    await journal.commit(event("three"))  # with a spool it goes there first, to the log of before
    await returned(journal)
    await journal.commit(event("four"))
    assert journal.problem() == ""
    assert journal.log != first
    assert requests_of(flaky, first)[1:] == (["one", "three"] if spooled else ["one"])
    assert [name for name in requests_of(flaky, journal.log) if name] == (["four"] if spooled else ["three", "four"])
    opening = bodies_of(flaky, journal.log)[0]["detail"]
    assert (opening["lost"], opening["missing"], opening["continues"]) == (1, 1, first)
    assert (opening["heads"][0]["log"], opening["heads"][0]["seq"]) == (first, 2)
    assert flaky.read(missing_events) == 1
    verified(flaky, journal.log)
    ended = flaky.read(lambda conn: [each.subject for each in StoreReader(conn).find(Revocation)])
    assert ended == ["account"]


async def test_end_of_a_spool_that_is_lost_is_counted_and_named(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    killed = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    for number in range(5):
        await killed.commit(event(str(number)))
    end = killed.head()
    kill(killed)
    with spool_file(place, killed) as conn:
        conn.execute("DELETE FROM batches WHERE id > 3")
    conn.close()
    flaky.always = ""
    await start(spool=place, options=QUICK)
    (drained,) = await recorded(flaky, EventType.SPOOL_DRAINED)
    assert drained["detail"]["missing"] == 2
    assert flaky.read(missing_events) == 2
    assert flaky.read(lambda conn: process_logs(conn, killed.log).recorded_until) is not None, "it stays incomplete"
    later = await start(spool=place, options=QUICK)
    opening = decode(rows_of(flaky, later.log)[0].data or b"")["detail"]
    assert opening["heads"][0] == {"log": killed.log, "seq": end.seq, "chain": end.chain.hex()}


async def test_spool_of_an_unknown_key_waits(start: Starter, flaky: Flaky, place: SpoolDirectory) -> None:
    killed = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    await killed.commit(event("0"))
    kill(killed)
    with spool_file(place, killed) as conn:
        conn.execute("UPDATE batches SET key = 'k2'")
    conn.close()
    flaky.always = ""
    await start(spool=place, options=QUICK)
    await asyncio.sleep(0.3)
    assert (place.directory / f"{killed.log}.db").exists()
    assert requests_of(flaky, killed.log)[1:] == []
