"""Who used what when last: kept by the way, never in the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, text

from daypass.audit.usage import EVERY_MS, KEPT_MS, MAX_ROWS, UsageBook, write_usage
from daypass.domain.directory import LastUse
from daypass.domain.events import Event, EventType
from daypass.ports.clock import Clock
from daypass.stores.engine import Database
from daypass.stores.tx import StoreReader

ACCOUNT = "111122223333"
NOW = 1_764_000_000_000
USER, ROLE = "AIDAAAAAAAAAAAAAAAAAA", "AROAAAAAAAAAAAAAAAAAA"


def event(principal: str = USER, operation: str = "iam:GetUser", key: str = "AKIA1", at: int = NOW) -> Event:
    actor = {"account": ACCOUNT, "principal_id": principal, "access_key_id": key}
    return Event(EventType.REQUEST_ALLOWED, at, ACCOUNT, actor, {"region": "eu-central-1"}, operation=operation)


def uses(database: Database) -> dict[tuple[str, str], int]:
    found = database.read(lambda conn: StoreReader(conn).find(LastUse))
    assert all((use.account, use.region) == (ACCOUNT, "eu-central-1") for use in found)
    return {(use.subject, use.operation): use.at for use in found}


def write(database: Database, book: UsageBook, now: int) -> int:
    taken = book.take(now)
    with database.write_transaction() as conn:
        if taken:
            write_usage(conn, taken)
    book.mark_written(taken, now)
    return len(taken)


def test_use_is_written_at_once_and_then_once_a_minute(database: Database) -> None:
    book = UsageBook()
    book.note(event())
    assert write(database, book, NOW) == 2
    assert uses(database) == {(USER, "iam:GetUser"): NOW, ("AKIA1", "iam"): NOW}
    for later in range(1, 50):
        book.note(event(at=NOW + later))
        assert write(database, book, NOW + later) == 0
    assert write(database, book, NOW + EVERY_MS) == 2
    assert set(uses(database).values()) == {NOW + 49}
    assert write(database, book, NOW + 3 * EVERY_MS) == 0


def test_sign_in_is_a_use_of_its_user_and_a_refused_one_is_not(database: Database) -> None:
    book = UsageBook()
    issued = event(operation="daypass:SignIn", key="")
    book.note(msgspec.structs.replace(issued, at=NOW + 1))  # a refusal, which names nobody else's key
    assert write(database, book, NOW) == 0
    book.note(msgspec.structs.replace(issued, type=EventType.SESSION_ISSUED))
    assert write(database, book, NOW) == 1
    assert uses(database) == {(USER, "daypass:SignIn"): NOW}


def test_older_use_of_another_process_changes_nothing(database: Database) -> None:
    first, second = UsageBook(), UsageBook()
    first.note(event(at=NOW + 5))
    second.note(event(at=NOW))
    write(database, first, NOW)
    write(database, second, NOW)
    assert set(uses(database).values()) == {NOW + 5}


def test_use_noted_while_it_is_written_is_not_lost(database: Database) -> None:
    book = UsageBook()
    book.note(event())
    taken = book.take(NOW)
    book.note(event(at=NOW + 7))
    book.mark_written(taken, NOW)
    assert write(database, book, NOW + EVERY_MS) == 2
    assert set(uses(database).values()) == {NOW + 7}


def test_what_was_taken_and_not_settled_is_taken_again() -> None:
    book = UsageBook()
    book.note(event())
    assert book.take(NOW) == book.take(NOW + 1) != {}


def test_only_principals_and_their_own_keys_are_noted() -> None:
    book = UsageBook()
    for passed_over in (
        Event(EventType.REQUEST_UNAUTHENTICATED, NOW, operation="sts:AssumeRole"),
        event(principal=USER, key=""),  # a proof from elsewhere may name anybody
        event(operation=""),
    ):
        book.note(passed_over)
    assert book.take(NOW) == {}
    book.note(event(principal=ACCOUNT, key="AKIAROOT"))
    book.note(event(principal=ROLE, key="ASIA2"))
    assert set(book.take(NOW)) == {(ACCOUNT, "iam:GetUser"), ("AKIAROOT", "iam"), (ROLE, "iam:GetUser")}


def test_one_transaction_takes_a_bounded_number_and_the_next_goes_on() -> None:
    book = UsageBook()
    for number in range(MAX_ROWS):
        book.note(event(principal=f"AIDA{number}", key=f"AKIA{number}"))
    first = book.take(NOW)
    book.mark_written(first, NOW)
    second = book.take(NOW)
    assert (len(first), len(second), len({*first, *second})) == (MAX_ROWS, MAX_ROWS, 2 * MAX_ROWS)
    book.mark_written(second, NOW)
    book.note(event(principal="AIDA1", key="AKIA1", at=NOW + 1))
    assert book.take(NOW + 1) == {}
    assert len(book.take(NOW + 1, everything=True)) == 2


def test_use_by_a_federated_user_is_its_issuers() -> None:
    book = UsageBook()
    actor = {"account": ACCOUNT, "principal_id": f"{ACCOUNT}:bob", "access_key_id": "ASIA1"}
    done = event()
    book.note(
        msgspec.structs.replace(done, actor={**actor, "origin": {"principal_id": USER, "access_key_id": "AKIA1"}})
    )
    assert set(book.take(NOW)) == {(USER, "iam:GetUser")}


async def test_journal_forgets_uses_older_than_the_tracking_period(start: Any, database: Database) -> None:
    book = UsageBook()
    now = Clock().now()
    book.note(event(at=now - KEPT_MS - 1_000))
    book.note(event(principal=ROLE, at=now - KEPT_MS + 600_000, key="ASIA1"))
    write(database, book, now)
    await start()
    assert set(uses(database)) == {(ROLE, "iam:GetUser")}


async def test_journal_writes_uses_beside_its_records(start: Any, database: Database) -> None:
    journal = await start()
    await journal.commit(event())
    await journal.write(lambda tx: (None, event(principal=ROLE, key="ASIA1", at=NOW + 1)))
    assert uses(database) == {(USER, "iam:GetUser"): NOW, ("AKIA1", "iam"): NOW, (ROLE, "iam:GetUser"): NOW + 1}
    await journal.commit(event(at=NOW + 2))
    await journal.close()
    assert uses(database)[USER, "iam:GetUser"] == NOW + 2


async def test_journal_goes_on_when_uses_cannot_be_written(
    start: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(conn: Connection, _: object) -> None:
        with conn.begin_nested():
            conn.execute(text("INSERT INTO last_uses (subject) VALUES (NULL)"))

    monkeypatch.setattr("daypass.audit.database_sink.write_usage", broken)
    journal = await start()
    before = journal.head().seq
    await journal.commit(event())
    assert journal.head().seq == before + 1
    assert uses(database) == {}
