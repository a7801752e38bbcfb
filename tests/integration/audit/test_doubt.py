"""When the database goes away: what was promised is there, what was refused gave nothing, and no number is used twice."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import Flaky, deadline, event, requests_of, session, session_ids, verified
from tests.integration.audit.test_journal import accounts, add_account
from tests.patience import eventually

from daypass.audit.format import chain_hash, leaf_hash
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores.feed import FeedChange


def sqlite_full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def tamper(flaky: Flaky, statement: str, **values: Any) -> None:
    with flaky.inner.write_transaction() as conn:
        conn.execute(text(statement), values)


async def test_away_for_less_than_the_deadline_is_only_a_delay(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    flaky.faults.extend(["refuse", "refuse", "before", "refuse"])
    await asyncio.gather(*(journal.commit(event(str(n))) for n in range(10)))
    assert requests_of(flaky, journal.log)[1:] == [str(n) for n in range(10)]
    assert journal.failures == 4
    assert journal.problem() == ""


async def test_away_for_longer_refuses_at_the_deadline_and_recovers(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    flaky.always = "refuse"
    began = time.monotonic()
    with deadline(journal, 0.3):  # else they would wait for half a minute
        commits = asyncio.gather(*(journal.commit(event(str(n))) for n in range(10)), return_exceptions=True)
        results = await asyncio.wait_for(commits, 120)
    assert time.monotonic() - began > 0.25
    assert {getattr(result, "kind", None) for result in results} == {ErrorKind.UNAVAILABLE}
    assert "unavailable" in journal.problem()
    flaky.always = ""
    await journal.commit(event("back"))
    assert requests_of(flaky, journal.log)[1:] == ["back"]
    assert (journal.problem(), journal.waiting, journal.waiting_bytes) == ("", 0, 0)


async def test_away_for_a_while_refuses_at_once_and_takes_again_when_it_is_back(
    start: Starter, flaky: Flaky, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = await start(options={"outage_seconds": 0.2, "idle_seconds": 0.1})
    flaky.always = "refuse"
    with deadline(journal, 0.3), pytest.raises(DaypassError):
        await journal.commit(event("first"))
    refused = [asyncio.ensure_future(journal.commit(event(str(n)))) for n in range(10)]
    await asyncio.sleep(0)
    assert all(future.done() and future.exception() for future in refused)  # none of them has waited
    reasons = {str(future.exception().private["journal"]) for future in refused}  # type: ignore[union-attr]  # DaypassError
    assert all(reason.startswith("the database has been unavailable for") for reason in reasons)
    captured = capfd.readouterr()
    assert (captured.out + captured.err).count("journal_refuses") == 1  # however many are refused
    flaky.always = ""
    await eventually(lambda: not journal.problem())
    await journal.commit(event("back"))
    assert requests_of(flaky, journal.log)[1:] == ["back"]


async def test_commit_whose_answer_was_lost_is_acknowledged_once_it_is_found(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    flaky.faults.extend(["after", "refuse"])
    await asyncio.gather(*(journal.commit(event(str(n)), session(f"{n:032x}")) for n in range(10)))
    await journal.commit(event("next"))
    assert requests_of(flaky, journal.log)[1:] == [*(str(n) for n in range(10)), "next"]
    assert len(session_ids(flaky)) == 10
    verified(flaky, journal.log)


async def test_change_whose_answer_was_lost_is_made_once_and_told_to_the_cache(start: Starter, flaky: Flaky) -> None:
    told: list[FeedChange] = []
    journal = await start(on_changes=told.extend)
    flaky.faults.append("after")
    assert await journal.write(add_account("one", "000000000001")) == "one"
    assert accounts(flaky) == {"one"}
    assert [change.kind for change in told] == ["accounts"]
    assert requests_of(flaky, journal.log)[1:] == ["one"]


async def test_commit_that_lands_after_its_deadline_keeps_its_numbers(start: Starter, flaky: Flaky) -> None:
    """The race that the re-sending exists for: the old transaction commits while its rows are being sent again."""
    journal = await start()
    flaky.faults.append("late")
    with deadline(journal, 0.2), suppress(DaypassError):  # refused at the deadline, unless it landed first
        await journal.commit(event("late"), session("a" * 32))
    await journal.commit(event("next"))
    for timer in flaky.late:
        timer.join()
    first, *rest = requests_of(flaky, journal.log)[1:]
    assert (first, set(rest)) == ("late", {"next"})
    assert session_ids(flaky) == {"a" * 32}
    assert journal.problem() == ""
    verified(flaky, journal.log)


async def test_change_that_lands_after_its_deadline_is_made_once(start: Starter, flaky: Flaky) -> None:
    told: list[FeedChange] = []
    journal = await start(on_changes=told.extend)
    flaky.faults.append("late")
    assert await journal.write(add_account("one", "000000000001")) == "one"
    for timer in flaky.late:
        timer.join()
    assert accounts(flaky) == {"one"}
    assert [change.kind for change in told] == ["accounts"]
    assert requests_of(flaky, journal.log)[1:] == ["one"]
    verified(flaky, journal.log)


async def test_lost_transaction_in_doubt_is_sent_again(
    start: Starter, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await start()
    _fail_to_commit(flaky, monkeypatch, times=1)
    await journal.commit(event("again"), session("a" * 32))
    assert await journal.write(add_account("one", "000000000001")) == "one"
    _fail_to_commit(flaky, monkeypatch, times=1)
    assert await journal.write(add_account("two", "000000000002")) == "two"
    assert requests_of(flaky, journal.log)[1:] == ["again", "one", "two"]
    assert accounts(flaky) == {"one", "two"}
    verified(flaky, journal.log)


def _fail_to_commit(flaky: Flaky, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The commit itself fails and rolls back, so that whoever sent it cannot know."""
    left = [times]
    commit = Connection._commit_impl  # type: ignore[attr-defined]

    def failing(conn: Connection) -> None:
        if left[0] > 0:
            left[0] -= 1
            conn._rollback_impl()  # type: ignore[attr-defined]
            raise OSError("the connection broke during COMMIT")
        commit(conn)

    monkeypatch.setattr(Connection, "_commit_impl", failing)


async def test_records_with_another_hash_halt_the_log(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    await journal.commit(event("one"))
    forged = leaf_hash(b"forged")
    tamper(
        flaky,
        "INSERT INTO audit_records SELECT log, 2, at, type, account, actor_account, operation, "
        "access_key_id, error, bytes, :chain, request_key, session_key FROM audit_records WHERE log = :log AND seq = 1",
        log=journal.log,
        chain=chain_hash(journal.head().chain, forged, 2),
    )
    with pytest.raises(DaypassError) as refused:
        await journal.commit(event("two"))
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert "halted" in journal.problem()
    with pytest.raises(DaypassError):
        await journal.commit(event("three"))
    with pytest.raises(DaypassError):
        await journal.write(add_account("one", "000000000001"))
    assert accounts(flaky) == set()
    fresh = await start()  # another start has another log, and goes on
    await fresh.commit(event("four"))


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit_records WHERE log = :log AND seq = 2", "UPDATE audit_records SET chain = bytes"]
)
async def test_history_that_changed_while_away_halts_the_log(start: Starter, flaky: Flaky, statement: str) -> None:
    journal = await start()
    await journal.commit(event("one"))
    await journal.commit(event("two"))
    tamper(flaky, statement, **({"log": journal.log} if ":log" in statement else {}))
    flaky.faults.append("refuse")
    with pytest.raises(DaypassError):
        await journal.commit(event("three"))
    assert "does not end where" in journal.problem()
    assert "three" not in requests_of(flaky, journal.log)


def lose_a_record(flaky: Flaky, log: str) -> None:
    """The database becomes one of another epoch that lacks record 2, and the connection is lost."""
    tamper(flaky, "DELETE FROM audit_records WHERE log = :log AND seq = 2", log=log)
    tamper(flaky, "UPDATE feed_counter SET epoch = 'of the new primary'")
    flaky.faults.append("refuse")


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_records_that_a_failover_has_lost_are_sent_again(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    await journal.commit(event("one"))
    await journal.commit(event("two"))
    lose_a_record(flaky, journal.log)
    await journal.commit(event("three"))
    assert requests_of(flaky, journal.log)[-3:] == ["one", "two", "three"]


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_h6_change_that_conflicts_with_another_transaction_is_made_at_once(
    start: Starter, flaky: Flaky, sqlstate: str
) -> None:
    journal = await start()
    conflict = Exception("could not serialize access")
    conflict.sqlstate = sqlstate  # type: ignore[attr-defined]
    flaky.raises.extend([OperationalError(None, None, conflict)] * 3)
    await journal.write(add_account("one", "000000000001"))
    assert accounts(flaky) == {"one"}
    assert (journal.failures, len(flaky.raises)) == (0, 0)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_file_of_another_epoch_that_lacks_records_halts_the_log(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    await journal.commit(event("one"))
    await journal.commit(event("two"))
    lose_a_record(flaky, journal.log)
    with pytest.raises(DaypassError):
        await journal.commit(event("three"))
    assert "does not end where" in journal.problem()


async def test_writer_that_fails_of_itself_halts_and_strands_nobody(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await start()

    def broken(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(journal._writer, "_not_abandoned", broken)
    with pytest.raises(DaypassError):
        await journal.commit(event())
    assert "MemoryError" in journal.problem()
    monkeypatch.undo()


@pytest.mark.parametrize("lost", ["", "-wal"])
async def test_idle_journal_whose_sqlite_file_or_log_is_removed_says_so(
    start: Starter, flaky: Flaky, tmp_path: Path, lost: str
) -> None:
    """Nothing is written meanwhile, and reading the log again works: neither hides that nothing can be recorded."""
    if flaky.dialect != "sqlite":
        pytest.skip("only SQLite has a file of ours")
    journal = await start(options={"idle_seconds": 300.0, "deadline_seconds": 0.5})
    (tmp_path / f"daypass.db{lost}").unlink()
    await eventually(lambda: journal.failures > 2)
    problem = journal.problem()
    assert "while in use: restart every process" in problem
    assert str(tmp_path) not in problem


async def test_problem_of_storage_that_can_be_read_but_not_written_stays(
    start: Starter, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the end of the log can be read, and only a successful write ends the problem."""
    journal = await start(options={"idle_seconds": 0.05})
    full = OperationalError("", None, sqlite_full())
    with monkeypatch.context() as failing:
        failing.setattr("daypass.audit.database_sink.raise_mark", Mock(side_effect=full))
        await eventually(lambda: journal.failures > 0)
        seen = set()
        while journal.failures <= 2:
            seen.add(bool(journal.problem()))
            await asyncio.sleep(0.001)
        assert seen == {True}
        assert journal.problem().endswith("its disk is full")
    await eventually(lambda: not journal.problem())
