"""Acknowledged records that the SQLite file has lost (attack A112), one-time proofs of a failover, and sessions that a
revocation overtakes.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import structs
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import DBAPIError
from tests.integration.audit.conftest import Starter
from tests.integration.audit.making import (
    ACCOUNT,
    OTHER,
    Flaky,
    TestIds,
    bodies_of,
    event,
    requests_of,
    session,
    session_ids,
    verified,
)
from tests.integration.audit.test_proofs import kept, proof
from tests.prepared import prepare_sqlite

from daypass.audit.batch import JournalOptions
from daypass.audit.journal import Journal
from daypass.audit.verify import BadRecord
from daypass.cli import exits
from daypass.cli.main import run
from daypass.cli.record import OfflineRecord
from daypass.client.profiles import LocalStateError
from daypass.domain.directory import Account, ReplayEntry, Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition, SessionClaims
from daypass.ports import ProofUsed
from daypass.ports.clock import Clock
from daypass.stores.backend import RestoreCheck
from daypass.stores.engine import Database, open_database
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.feed import feed_head, renew_epoch
from daypass.stores.log_heads import read_heads
from daypass.stores.meta import missing_events
from daypass.stores.migrations import prepare
from daypass.stores.records import audit_records
from daypass.stores.tx import StoreTx

COUNT = 20


async def journal_on(database: Database) -> Journal:
    options = JournalOptions(deadline_seconds=2.0, retry_seconds=0.02)
    journal = Journal(database, Clock(), TestIds(), "node-1", options)  # type: ignore[arg-type]
    await journal.start()
    return journal


def checkpointed(path: Path) -> bytes:
    """The file alone, after all that was committed so far was copied into it."""
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return path.read_bytes()


def put_back(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


async def crashed(path: Path, *, keep: int) -> str:
    """A database to which `keep` + COUNT events were committed, as it is on disk without those of the write-ahead log."""
    database = open_database(prepare_sqlite(path))
    with database.write_transaction() as conn:
        conn.execute(insert(ENTITY_TABLES[Account].table).values(id=ACCOUNT, name="one", operator=True, created_at=1))
    prepare(database)
    journal = await journal_on(database)
    for _ in range(keep):
        await journal.commit(event())
    content = checkpointed(path)
    for _ in range(COUNT):
        await journal.commit(event())
    log = journal.log
    noted = {head.log: head.seq for head in read_heads(path)}
    assert noted[log] == keep + COUNT
    journal._writer.queue.end()
    journal._thread.join()
    journal._watch.cancel()  # type: ignore[union-attr]
    database.close()
    put_back(path, content)
    return log


def start_on(path: Path) -> tuple[Database, RestoreCheck]:
    database = open_database(f"sqlite:///{path}")
    return database, prepare(database)


async def test_a112_write_ahead_log_deleted_ends_all_sessions_counts_and_names_what_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "daypass.db"
    log = await crashed(path, keep=5)
    found = OfflineRecord(path).verified()
    assert [(bad.log, bad.seq) for bad in found if isinstance(bad, BadRecord)] == [(log, 6)]
    database, found = start_on(path)
    epoch = database.epoch()
    assert (found.replaced, found.losses.missing) == (False, COUNT)
    assert database.read(missing_events) == COUNT
    revocations = ENTITY_TABLES[Revocation].table
    ended = database.read(lambda conn: conn.execute(select(revocations.c.value)).scalars().all())
    assert ended == [ACCOUNT]
    journal = await journal_on(database)
    detail = bodies_of(database, journal.log)[0]["detail"]
    assert (detail["lost"], detail["heads"][0]["log"], detail["heads"][0]["seq"]) == (1, log, 5 + COUNT)
    await journal.close()
    capfd.readouterr()
    assert run(["audit", "verify", "--database", str(path)]) == exits.GAP  # for ever: the record names it
    assert f"GAP  log {log}: records 6 to 25 are missing, lost between 20" in capfd.readouterr().out
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("DELETE FROM audit_records WHERE log = ? AND seq = 5", [log])
        conn.commit()
    assert run(["audit", "verify", "--database", str(path)]) == exits.FINDING
    assert f"BAD  log {log} record 5: missing: more than the 20 records that" in capfd.readouterr().out
    database.close()
    database, found = start_on(path)  # it is not reported again
    assert (found, database.epoch()) == (RestoreCheck(), epoch)
    database.close()


async def test_start_after_a_crash_that_lost_nothing_is_the_same_life(tmp_path: Path) -> None:
    path = tmp_path / "daypass.db"
    database = open_database(prepare_sqlite(path))
    prepare(database)
    journal = await journal_on(database)
    await journal.commit(event())
    other, found = start_on(path)  # while the first one runs
    assert found == RestoreCheck()
    await journal.commit(event())
    assert {head.log: head.seq for head in read_heads(path)}[journal.log] == 2
    other.close()
    await journal.close()
    database.close()


async def test_record_of_another_history_in_place_of_a_noted_head_is_lost_but_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "daypass.db"
    database = open_database(prepare_sqlite(path))
    prepare(database)
    journal = await journal_on(database)
    await journal.commit(event())
    await journal.close()
    with database.write_transaction() as conn:
        conn.exec_driver_sql("UPDATE audit_records SET chain = zeroblob(32) WHERE seq = 2")
    database.close()
    database, found = start_on(path)
    assert (len(found.losses.heads), found.losses.missing) == (1, 0)
    database.close()


async def test_a112_write_ahead_log_deleted_while_running_takes_no_more_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "daypass.db"
    database = open_database(prepare_sqlite(path))
    prepare(database)
    journal = await journal_on(database)
    for _ in range(COUNT):
        await journal.commit(event())
    remove_log(path)
    with pytest.raises(DaypassError):
        await journal.commit(event())
    assert "unavailable" in journal.problem()
    kept = tmp_path / "kept.db"  # as after kill -9: what is in the file and nowhere else
    shutil.copy(path, kept)
    shutil.copy(f"{path}-lock", f"{kept}-lock")
    assert not [found for found in OfflineRecord(kept).verified() if isinstance(found, BadRecord)]
    await journal.close()
    database.close()


def test_noted_heads_of_a_side_file_that_was_damaged_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "daypass.db"
    Path(f"{path}-lock").write_bytes(b" " * 96 + b"\0" * 128 + json.dumps(["?"]).encode() * 60)
    assert read_heads(path) == []
    assert read_heads(tmp_path / "absent.db") == []


def test_verify_of_a_directory_without_a_sqlite_file_names_the_option_for_postgresql(tmp_path: Path) -> None:
    with pytest.raises(
        LocalStateError,
        match=r"absent\.db does not exist\. For a PostgreSQL database, give its settings \(--config\), or --url",
    ):
        list(OfflineRecord(tmp_path / "absent.db").verified())


CODE = ReplayEntry("totp", "code-1", ACCOUNT, 1_700_000_000_000, 4_000_000_000_000)
_DISCONNECT = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def fail_over(flaky: Flaky, log: str, kept: int) -> None:
    """The database becomes one of another epoch that lacks the proofs, and what follows record `kept`."""
    with flaky.write_transaction() as conn:
        conn.execute(delete(audit_records).where(audit_records.c.log == log, audit_records.c.seq > kept))
        conn.execute(delete(ENTITY_TABLES[ReplayEntry].table))
        renew_epoch(conn)


def disconnect(flaky: Flaky) -> None:
    """The connections to the old primary break, and somebody else than the journal's writer notices."""
    with flaky.write_transaction() as conn:
        url = conn.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as other:
        other.execute(_DISCONNECT)
    with pytest.raises(DBAPIError), flaky.write_transaction() as conn:
        conn.execute(text("SELECT 1"))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_proof_that_a_failover_has_lost_is_consumed_again_with_its_record(start: Starter, flaky: Flaky) -> None:
    journal = await start()
    await journal.commit(event("before"))
    await journal.commit(event("with-code"), replays=(CODE,))
    fail_over(flaky, journal.log, kept=1)
    flaky.faults.append("refuse")
    await journal.commit(event("after"))
    with pytest.raises(ProofUsed):
        await journal.commit(event("again"), replays=(CODE,))
    assert verified(flaky, journal.log).head.seq == 3
    assert requests_of(flaky, journal.log)[1:] == ["before", "with-code", "after"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a340_commit_after_a_failover_that_others_have_noticed_sends_lost_records_first(
    start: Starter, flaky: Flaky
) -> None:
    """A340: the error of the old connections went to another thread, and the journal writes to a new one at once."""
    journal = await start()
    await journal.commit(event("before"))
    await journal.commit(event("lost"))
    fail_over(flaky, journal.log, kept=1)
    disconnect(flaky)
    await journal.commit(event("after"))
    assert requests_of(flaky, journal.log)[1:] == ["before", "lost", "after"]
    assert verified(flaky, journal.log).head.seq == 3


AT = 1_700_000_000_000


def claims(number: int, seen: FeedPosition, account: str = ACCOUNT) -> SessionClaims:
    made = session(f"{number:032x}", account=account)
    hops = tuple(structs.replace(hop, account=account, seen=seen) for hop in made.hops)
    return session(f"{number:032x}", account=account, seen=seen, hops=hops)


def revoke(flaky: Flaky, **changes: Any) -> None:
    """As another process does."""
    made = replace(Revocation("r" * 32, ACCOUNT, "account", ACCOUNT, 5, AT, block=False), **changes)

    def write(tx: StoreTx) -> None:
        tx.insert(made)
        tx.flush()

    with flaky.inner.write_transaction() as conn:
        write(StoreTx(conn, AT))


def position(flaky: Flaky) -> FeedPosition:
    head = flaky.read(feed_head)
    return FeedPosition(head.epoch, head.position)


async def test_a267_session_that_an_unread_revocation_ends_is_not_issued_and_the_others_are(
    start: Starter, flaky: Flaky
) -> None:
    journal = await start()
    before = position(flaky)
    await journal.commit(event("0"), claims(1, before))
    revoke(flaky)
    results = await asyncio.gather(
        journal.commit(event("1"), claims(2, before), (proof("code"),)),
        journal.commit(event("2"), claims(3, before, OTHER)),
        journal.commit(event("3")),
        return_exceptions=True,
    )
    refused, *issued = results
    assert isinstance(refused, DaypassError)
    assert refused.kind is ErrorKind.UNAVAILABLE
    assert issued == [None, None]
    assert kept(flaky) == set(), "the proof can be used in the next attempt"
    await journal.commit(event("4"), claims(4, position(flaky)), (proof("code"),))
    assert session_ids(flaky) == {f"{number:032x}" for number in (1, 3, 4)}


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "role", "value": "AROADEPLOY"},
        {"subject": "principal", "value": "AIDAALICE"},
        {"subject": "access_key", "value": "AKIAUSER"},
    ],
)
async def test_a267_revocation_of_any_hop_counts(start: Starter, flaky: Flaky, changes: dict[str, str]) -> None:
    journal = await start()
    before = position(flaky)
    revoke(flaky, id="o" * 32, subject="role", value="AROAOTHER")
    await journal.commit(event("0"), claims(1, before))
    revoke(flaky, **changes)
    with pytest.raises(DaypassError):
        await journal.commit(event("1"), claims(2, before))
    assert session_ids(flaky) == {f"{1:032x}"}
