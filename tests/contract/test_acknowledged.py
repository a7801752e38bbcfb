"""A node's notes on its own disk, compared with a database that has lost them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.contract.making import NOW
from tests.integration.audit.making import ACCOUNT, event
from tests.integration.audit.test_journal import add_account
from tests.integration.audit.test_lost import journal_on

from daypass.domain.directory import Revocation
from daypass.stores import acknowledged
from daypass.stores.acknowledged import Acknowledged
from daypass.stores.engine import Database, open_database
from daypass.stores.log_heads import LogHead, Losses, read_heads
from daypass.stores.meta import missing_events
from daypass.stores.migrations import prepare
from daypass.stores.tx import StoreReader, StoreTx

HEADS = [LogHead(f"{n:032x}", n, bytes([n]) * 32, NOW + n) for n in range(3)]


def block(name: str, *, lifted: bool = False) -> Revocation:
    return Revocation(name, ACCOUNT, "access_key", name, NOW, NOW, block=not lifted)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "data" / "acknowledged"


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, base: Path) -> Iterator[Callable[[], Database]]:
    """Opens the database as another process of the node does."""
    url = f"sqlite:///{tmp_path}/daypass.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with ExitStack() as stack:

        def open_() -> Database:
            database = open_database(url, acknowledged=base)
            stack.callback(database.close)
            return database

        yield open_


async def test_h1_start_restores_revocations_ends_sessions_and_counts_what_the_database_has_lost(
    opened: Callable[[], Database],
) -> None:
    database = opened()
    prepare(database, NOW)
    journal = await journal_on(database)
    await journal.write(add_account("one", ACCOUNT))
    await journal.commit(event())
    epoch = database.epoch()
    for revocation in (block("AKIABLOCKED"), block("AKIALIFTED")):
        with database.write_transaction() as conn:
            tx = StoreTx(conn, NOW)
            tx.insert(revocation)
            tx.flush()
    with database.write_transaction() as conn:
        tx = StoreTx(conn, NOW)
        stored = tx.find(Revocation, id="AKIALIFTED")[0]
        tx.replace(replace(stored, block=False))
        tx.flush()
    await journal.commit(event())
    await journal.close()
    with database.write_transaction() as conn:
        conn.execute(text("DELETE FROM audit_records WHERE seq > 2"))
        conn.execute(text("DELETE FROM revocations"))
    restarted = opened()
    found = prepare(restarted, NOW + 5)
    assert (found.losses.missing, len(found.losses.heads), found.revocations) == (2, 1, 2)
    assert 0 < found.losses.since <= found.losses.until
    assert restarted.epoch() != epoch
    stored = {each.value: each for each in restarted.read(lambda conn: StoreReader(conn).find(Revocation))}
    assert {name: each.block for name, each in stored.items()} == {
        "AKIABLOCKED": True,
        "AKIALIFTED": False,
        ACCOUNT: False,
    }
    assert (stored[ACCOUNT].subject, stored[ACCOUNT].issued_before) == ("account", NOW + 5)
    assert restarted.read(missing_events) == 2
    assert prepare(opened(), NOW + 6).losses == Losses()  # it is reported once


async def test_start_on_a_database_that_has_everything_changes_nothing(opened: Callable[[], Database]) -> None:
    database = opened()
    prepare(database, NOW)
    journal = await journal_on(database)
    await journal.commit(event())
    await journal.close()
    epoch = database.epoch()
    found = prepare(opened(), NOW)
    assert (found.replaced, found.losses, database.epoch()) == (False, Losses(), epoch)


async def test_notes_about_another_installation_are_forgotten(
    postgres_url: str, base: Path, opened: Callable[[], Database]
) -> None:
    notes = Acknowledged(base)
    notes.note_log(HEADS[1])
    notes.keep([block("AKIA")])
    database = open_database(postgres_url, acknowledged=base)
    try:
        assert prepare(database, NOW).losses == Losses()
    finally:
        database.close()
    assert (notes.heads(), notes.kept(NOW)) == ([], [])
    notes.close()


def test_processes_of_a_node_note_their_logs_beside_each_other(base: Path) -> None:
    processes = [Acknowledged(base) for _ in HEADS]
    for process, head in zip(processes, HEADS, strict=True):
        process.note_log(head)
    for process, head in zip(processes, HEADS, strict=True):
        process.note_log(LogHead(head.log, head.seq + 10, head.chain, head.at))
        process.join()
    assert [head.seq for head in read_heads(base)] == [10, 11, 12]
    fresh = Acknowledged(base)
    assert fresh.others()
    fresh.forget(fresh.heads()[:1])
    assert [head.seq for head in fresh.heads()] == [11, 12]
    for process in (*processes, fresh):
        process.close()


def test_kept_revocations_are_compacted_to_the_newest_state_of_those_that_matter(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledged, "_COMPACTED_BYTES", 500)
    notes = Acknowledged(base)
    spent = replace(block("AKIASPENT", lifted=True), position=3, created_at=1, issued_before=1)
    for _ in range(20):
        notes.keep([block("AKIA"), spent])
    size = (base.parent / "acknowledged-revocations").stat().st_size
    assert size < 1500
    assert [each.value for each in notes.kept(NOW)] == ["AKIA"]
    with (base.parent / "acknowledged-revocations").open("ab") as file:
        file.write(b'{"id":"cut')  # the machine ended while it was written
    assert [each.value for each in notes.kept(NOW)] == ["AKIA"]
    notes.close()
