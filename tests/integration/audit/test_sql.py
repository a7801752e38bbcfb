"""The journal's statements: any number of rows, all or nothing with their transaction, and nothing outside of the data."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError
from tests.integration.audit.making import SettableClock, event, session
from tests.integration.audit.test_spool import Signer
from tests.prepared import PreparedPostgres
from tests.stalling import stalling

from daypass.audit.batch import is_unavailable
from daypass.audit.drain import Drainer
from daypass.audit.log import Unopened, open_log_without_database, record_rows
from daypass.audit.recent import RecentBatches
from daypass.audit.rows import event_row, session_row
from daypass.audit.spool import SpoolDirectory
from daypass.audit.sql import PostgresStatements, Statements, statements
from daypass.stores.engine import Database, open_database

LOG = "1" * 32
OPEN_FILES = Path("/proc/self/fd")


def records(count: int, first: int = 0, padding: int = 0) -> list[tuple[Any, ...]]:
    detail = {"padding": "x" * padding}
    rows = [event_row(event(f"{seq * 7919 % 10_007}", detail=detail)) for seq in range(first, first + count)]
    return record_rows(LOG, first, [(row, b"c" * 32) for row in rows])


def sessions(*ids: int) -> list[tuple[Any, ...]]:
    rows = [session_row(session(f"{number:032x}")) for number in ids]
    return [(LOG, seq, *row) for seq, row in enumerate(rows)]


def count(database: Database, table: str) -> int:
    return int(database.read(lambda conn: conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()))


def temporary_files() -> list[str]:
    """SQLite's open ones. They have no name any more, so that no directory shows them."""
    targets = (str(link.readlink()) for link in OPEN_FILES.iterdir() if link.is_symlink())
    return [target for target in targets if "etilqs" in target]


@pytest.fixture
def inserts(database: Database) -> Statements:
    return statements(database.dialect)


def test_insert_refused_row_raises_the_errors_that_the_journal_tells_apart(
    database: Database, inserts: Statements
) -> None:
    with pytest.raises(IntegrityError) as refused, database.write_transaction() as conn:
        inserts.insert_sessions(conn, sessions(1, 1))
    assert not is_unavailable(refused.value)
    assert "AROADEPLOY" not in str(refused.value)
    assert count(database, "sessions") == 0


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 127, 128, 129, 300])
def test_insert_any_number_stores_each_row_once(database: Database, inserts: Statements, rows: int) -> None:
    with database.write_transaction() as conn:
        assert inserts.insert_records(conn, records(rows)) == rows
        inserts.insert_sessions(conn, sessions(*range(rows)))
    assert (count(database, "audit_records"), count(database, "sessions")) == (rows, rows)
    with database.write_transaction() as conn:
        assert inserts.insert_records(conn, records(rows + 1)) == 1


@pytest.mark.parametrize("place", [0, 20, 39])
def test_insert_sessions_taken_id_raises_and_everything_is_undone(
    database: Database, inserts: Statements, place: int
) -> None:
    ids = list(range(1, 41))
    ids[place] = 99
    with database.write_transaction() as conn:
        inserts.insert_sessions(conn, sessions(99))
    with pytest.raises(IntegrityError), database.write_transaction() as conn:
        inserts.insert_records(conn, records(40))
        inserts.insert_sessions(conn, sessions(*ids))
    assert (count(database, "audit_records"), count(database, "sessions")) == (0, 1)


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="open files are looked at as Linux shows them")
def test_insert_large_batch_makes_no_temporary_file(database: Database, inserts: Statements) -> None:
    """Also where SQLite may make one: a batch cannot be undone alone, and need not be."""
    if database.dialect == "sqlite":
        with database.write_transaction() as conn:  # there is one connection, and it is told before it begins
            conn.exec_driver_sql("PRAGMA temp_store=FILE")
    for first in (0, 250):  # the second one changes many pages that were there before
        with database.write_transaction() as conn:
            inserts.insert_records(conn, records(250, first, padding=1000))
            inserts.insert_sessions(conn, sessions(*range(first, first + 250)))
            assert temporary_files() == []
    assert count(database, "audit_records") == 500


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="open files are looked at as Linux shows them")
def test_large_savepoint_makes_no_temporary_file(database: Database, inserts: Statements) -> None:
    """Overwritten values stay in memory, so that one change can be undone alone."""

    def overwrite(conn: Connection, what: str) -> None:
        conn.execute(text("UPDATE audit_records SET error = :what"), {"what": what})

    with database.write_transaction() as conn:
        inserts.insert_records(conn, records(250, padding=1000))
        with conn.begin_nested() as savepoint:
            overwrite(conn, "undone")
            assert temporary_files() == []
            savepoint.rollback()
    found = database.read(lambda conn: conn.execute(text("SELECT DISTINCT error FROM audit_records")).scalars().all())
    assert found == [""]


@pytest.mark.parametrize("rows", [1, 2, 300])
def test_copy_new_rows_stores_what_an_insert_stores(database: Database, inserts: Statements, rows: int) -> None:
    def stored() -> list[Any]:
        queries = [text(f"SELECT * FROM {table} ORDER BY seq") for table in ("audit_records", "sessions")]
        return database.read(lambda conn: [conn.execute(query).all() for query in queries])

    with database.write_transaction() as conn:
        inserts.insert_records(conn, records(rows))
        inserts.insert_sessions(conn, sessions(*range(rows)))
    expected = stored()
    with database.write_transaction() as conn:
        for table in ("audit_records", "sessions"):
            conn.execute(text(f"DELETE FROM {table}"))
        copied = inserts.copy(conn, records(rows), sessions(*range(rows)))
    assert copied == (database.dialect == "postgresql")
    assert stored() == (expected if copied else [[], []])


@pytest.mark.parametrize("existing", ["record", "session"])
def test_copy_existing_row_adds_nothing_and_the_transaction_goes_on(
    database: Database, inserts: Statements, existing: str
) -> None:
    with database.write_transaction() as conn:
        if existing == "record":
            inserts.insert_records(conn, records(1, 39))
        else:
            inserts.insert_sessions(conn, sessions(39))
    with database.write_transaction() as conn:
        assert not inserts.copy(conn, records(40), sessions(*range(40)))
        inserts.insert_records(conn, records(1, 50))
    assert count(database, "audit_records") == (2 if existing == "record" else 1)
    assert count(database, "sessions") == (1 if existing == "session" else 0)


@pytest.mark.parametrize("size", [0, 20_000])  # the server does not answer, or does not even read
def test_copy_without_an_answer_raises_and_the_database_counts_as_hanging(
    prepared_postgres: PreparedPostgres, size: int
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as server:
        with closing(open_database(server.url, answer_seconds=0.5)) as database:
            with pytest.raises(OperationalError) as raised, database.write_transaction() as conn:
                conn.execute(text("SELECT 1"))
                server.hang()
                statements(database.dialect).copy(conn, records(500, padding=size), [])
            assert is_unavailable(raised.value)
            assert database.hangs
        server.go_on()
        with closing(open_database(url)) as database:
            assert count(database, "audit_records") == 0


def test_drain_of_a_chunk_that_takes_longer_than_a_request_may_wait_succeeds(
    prepared_postgres: PreparedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same chunk would fail again and again."""
    copy = PostgresStatements.copy

    def slow(self: PostgresStatements, conn: Connection, *rows: Any) -> bool:
        conn.execute(text("SELECT pg_sleep(1)"))
        return copy(self, conn, *rows)

    monkeypatch.setattr(PostgresStatements, "copy", slow)
    with prepared_postgres.lent() as url, closing(open_database(url, write_seconds=0.5)) as database:
        spool = SpoolDirectory(tmp_path, 1_000_000, Signer()).create(LOG)
        spool.append(open_log_without_database(LOG, 5_000_000, Unopened("i", "node-1", {}, {})))
        drainer = Drainer(database, SettableClock(), RecentBatches(fails_over=False), lambda _: None)
        assert drainer.chunk(spool)
        spool.forget()
        spool.close()
        assert count(database, "audit_records") == 1
