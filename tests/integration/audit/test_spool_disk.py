"""The disk of the spool fails, or loses what it confirmed: nothing is acknowledged that is not durable, and every loss is
counted.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import Flaky, event, requests_of, session, verified
from tests.integration.audit.test_spool import QUICK, Signer, accepts, kill, recorded, returned
from tests.patience import eventually

from daypass.audit.completeness import process_logs
from daypass.audit.journal import Journal
from daypass.audit.log import LogBatch, Position
from daypass.audit.spool import Spool, SpoolDirectory, SpoolError, lock_of
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType

COMMITS = 12


@pytest.fixture
def place(tmp_path: Path) -> SpoolDirectory:
    return SpoolDirectory(tmp_path / "spool", 1_000_000, Signer())


@contextmanager
def no_larger_than(size: int) -> Iterator[None]:
    """write(2) beyond this size fails in this process, for SQLite an error of the disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def log_of(place: SpoolDirectory, journal: Journal) -> Path:
    """The write-ahead log of the journal's spool."""
    return place.directory / f"{journal.first_log}.db-wal"


def test_discard_of_some_batches_leaves_the_numbers_of_the_rest(place: SpoolDirectory) -> None:
    spool, log = place.create("a" * 32), "b" * 32
    for number in range(10):
        start, end = Position(number * 3 - 1, b"s" * 32), Position(number * 3 + 2, b"e" * 32)
        rows = [(log, seq, b"x" * 100 * number) for seq in range(start.seq + 1, end.seq + 1)]
        spool.append(LogBatch(start, end, records=rows))
    batches = spool.oldest(3_000)
    assert 1 < len(batches) < 10
    spool.discard(batches)
    left = (spool.events, spool.bytes)
    assert left[0] == 3 * (10 - len(batches))
    spool.close()
    (adopted,) = place.abandoned()
    assert (adopted.events, adopted.bytes) == left, "as counted in the file"
    adopted.discard(adopted.oldest(1_000_000))
    assert (adopted.events, adopted.bytes) == (0, 0)
    adopted.close()


def test_create_on_a_full_disk_raises_its_error_and_succeeds_when_there_is_space(place: SpoolDirectory) -> None:
    place.directory.mkdir()
    for _ in range(2):  # the first attempt leaves neither a lock nor a file
        with no_larger_than(0), pytest.raises(sqlite3.Error):
            place.create("a" * 32)
        assert not list(place.directory.iterdir())
    place.create("a" * 32).close()


def test_create_beside_a_process_that_looks_for_abandoned_spools_waits_for_it(
    place: SpoolDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that started was not ready for five seconds, because another one looked at its lock file."""
    place.directory.mkdir()
    other = lock_of(place.directory / f"{'a' * 32}.lock")
    assert other is not None
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            os.close(other)

    monkeypatch.setattr(time, "sleep", pause)
    place.create("a" * 32).close()
    assert len(pauses) == 3


def test_create_beside_a_process_that_keeps_the_lock_says_so_in_the_end(
    place: SpoolDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.directory.mkdir()
    other = lock_of(place.directory / f"{'a' * 32}.lock")
    assert other is not None
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(BlockingIOError, match="another process drains"):
        place.create("a" * 32)
    assert sum(pauses) < 1
    os.close(other)


@pytest.mark.parametrize("fault", ["full disk", "read error"])
def test_spool_that_a_disk_fault_keeps_from_being_read_is_left_for_later(place: SpoolDirectory, fault: str) -> None:
    log, start, end = "b" * 32, Position(0, b"s" * 32), Position(1, b"e" * 32)
    spool = place.create("a" * 32)
    spool.append(LogBatch(start, end, records=[(log, 1, b"x")]))
    spool.close()
    if fault == "full disk":  # SQLite needs 32 KiB for the index of the write-ahead log; the warning needs some, too
        with no_larger_than(16_384):
            assert not list(place.abandoned())
    else:
        (adopted,) = place.abandoned()
        real, adopted._conn = adopted._conn, Failing()  # type: ignore[assignment]
        with pytest.raises(SpoolError, match="not readable"):
            adopted.oldest(1_000)
        adopted._conn = real
        adopted.close()
    assert not place.rejected()
    (adopted,) = place.abandoned()
    assert [tuple(batch.records[0]) for batch in adopted.oldest(1_000)] == [(log, 1, b"x")]
    adopted.close()


class Failing:
    """A connection whose disk fails."""

    def execute(self, *_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
        raise error


async def test_commit_when_the_disk_of_the_spool_fails_is_refused_and_later_ones_are_recorded_once(
    start: Starter, flaky: Flaky, place: SpoolDirectory
) -> None:
    journal = await start(spool=place, options={**QUICK, "deadline_seconds": 2.0})
    flaky.always = "refuse"
    await journal.commit(event("before"), session(f"{1:032x}"))
    with no_larger_than(log_of(place, journal).stat().st_size + 100):
        for number in range(3):
            with pytest.raises(DaypassError) as refused:
                await journal.commit(event(f"refused-{number}"), session(f"{100 + number:032x}"))
            assert refused.value.kind is ErrorKind.UNAVAILABLE
        assert journal.spool is not None
        assert "cannot be written" in journal.spool.fault
        assert "cannot be written" in journal.problem()
    await accepts(journal)
    await journal.commit(event("after"), session(f"{2:032x}"))
    flaky.always = ""
    await returned(journal)
    assert [request for request in requests_of(flaky, journal.log) if request] == ["before", "after"]
    verified(flaky, journal.log)


@pytest.mark.parametrize("writable", [True, False])
async def test_fault_of_a_spool_after_an_outage_lasts_only_until_it_can_be_written(
    start: Starter, place: SpoolDirectory, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    checks = 0

    def check(self: Spool) -> None:
        nonlocal checks
        checks += 1
        if not writable:
            raise SpoolError("the disk is full")

    monkeypatch.setattr("daypass.audit.spool_sink._ADOPT_SECONDS", 0.02)
    monkeypatch.setattr(Spool, "check", check)
    journal = await start(spool=place, options=QUICK)
    assert journal.spool is not None
    journal.spool._failed("the disk is full")
    await eventually(lambda: checks >= 2 or not journal.spool.fault)
    assert journal.spool.fault == ("" if writable else "the disk is full")
    assert checks


@pytest.mark.parametrize("tear", ["last byte", "last page", "half of it", "zeros at the end", "last page altered"])
async def test_torn_write_ahead_log_of_a_spool_loses_only_its_end_and_the_loss_is_counted(
    start: Starter, flaky: Flaky, place: SpoolDirectory, tmp_path: Path, tear: str
) -> None:
    killed = await start(spool=place, options=QUICK)
    flaky.always = "refuse"
    for number in range(COMMITS):
        await killed.commit(event(str(number)), session(f"{number:032x}"))
    copy = tmp_path / "copy"
    shutil.copytree(place.directory, copy)  # as a kill leaves it: SQLite tidies up when it is closed
    kill(killed)
    for name in (f"{killed.first_log}.db", f"{killed.first_log}.db-wal"):
        shutil.copy(copy / name, place.directory / name)
    damage(log_of(place, killed), tear)
    flaky.always = ""
    await start(spool=place, options=QUICK)
    (drained,) = await recorded(flaky, EventType.SPOOL_DRAINED)
    found = [request for request in requests_of(flaky, killed.first_log) if request]
    assert found == [str(number) for number in range(len(found))], "in order, without a gap"
    assert len(found) < COMMITS
    assert drained["detail"]["events"] == len(found)
    assert drained["detail"]["missing"] == COMMITS - len(found)
    logs = flaky.read(lambda conn: process_logs(conn, killed.first_log))
    assert logs is not None
    assert logs.recorded_until is not None, "sessions that were lost may be in use: its status lists stay incomplete"
    verified(flaky, killed.first_log)
    assert not place.rejected()


def damage(file: Path, tear: str) -> None:
    content = file.read_bytes()
    page = 8192 + 24  # of the spool, with the header of its frame
    torn = {
        "last byte": content[:-1],
        "last page": content[:-page],
        "half of it": content[: len(content) // 2],
        "zeros at the end": content[:-page] + bytes(page),
        "last page altered": content[:-100] + bytes(byte ^ 0xFF for byte in content[-100:]),
    }
    file.write_bytes(torn[tear])
