"""A PostgreSQL server that hangs (A103): its connections stay open, and it answers nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from psycopg import OperationalError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.prepared import PreparedPostgres
from tests.stalling import StallingServer, stalling

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores import postgres
from daypass.stores.engine import Database, open_database
from daypass.stores.feed import feed_head
from daypass.stores.meta import take_lock

ANSWER_SECONDS = 0.3


@pytest.fixture
def server(prepared_postgres: PreparedPostgres) -> Iterator[StallingServer]:
    with prepared_postgres.lent() as url, stalling(url) as server:
        yield server


@pytest.fixture
def database(server: StallingServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(postgres, "_CONNECT_SECONDS", 2)
    database = open_database(server.url, answer_seconds=ANSWER_SECONDS)
    yield database
    server.go_on()
    database.close()


def test_a103_read_from_a_server_that_hangs_is_unavailable(server: StallingServer, database: Database) -> None:
    database.read(feed_head)
    server.hang()
    with pytest.raises(DaypassError) as refused:
        database.read(feed_head)
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert "no answer within 0.3 s" in refused.value.private["database"]
    assert database.hangs


def test_a103_reads_after_an_unanswered_one_do_not_ask_until_a_probe_succeeds(
    server: StallingServer, database: Database
) -> None:
    database.read(feed_head)
    server.hang()
    with pytest.raises(DaypassError):
        database.read(feed_head)
    with pytest.raises(DaypassError) as refused:
        database.read(lambda _: pytest.fail("the database was asked"))
    assert refused.value.private["database"] == "the database does not answer"
    server.go_on()
    database.read(feed_head, probe=True)
    assert not database.hangs
    database.read(feed_head)


def test_a103_write_to_a_server_that_hangs_ends_and_rolls_back(server: StallingServer, database: Database) -> None:
    with pytest.raises(DBAPIError) as failed, database.write_transaction() as conn:
        conn.execute(text("INSERT INTO meta VALUES ('hang', 'x')"))
        server.hang()
        conn.execute(text("SELECT 1"))
    assert isinstance(failed.value.orig, postgres.Unanswered)
    assert failed.value.connection_invalidated
    server.go_on()
    found = database.read(lambda c: c.execute(text("SELECT count(*) FROM meta WHERE key = 'hang'")), probe=True)
    assert found is not None


def test_a103_connecting_to_a_server_that_hangs_ends(server: StallingServer, database: Database) -> None:
    server.hang()
    with pytest.raises(DaypassError) as refused:
        database.read(feed_head)
    assert "timeout" in refused.value.private["database"]
    assert database.hangs


def test_statement_that_is_slow_is_cancelled_by_the_server_and_the_connection_goes_on(database: Database) -> None:
    backend = database.read(lambda conn: conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
    with pytest.raises(DaypassError) as refused:
        database.read(lambda conn: conn.execute(text("SELECT pg_sleep(30)")))
    assert "statement timeout" in refused.value.private["database"]
    assert not database.hangs
    assert database.read(lambda conn: conn.execute(text("SELECT pg_backend_pid()")).scalar_one()) == backend


def test_read_that_may_take_longer_is_given_the_time(database: Database) -> None:
    found = database.read(lambda conn: conn.execute(text("SELECT 1 FROM pg_sleep(0.4)")).scalar_one(), seconds=20)
    assert found == 1
    with pytest.raises(DaypassError):  # and the next one is not
        database.read(lambda conn: conn.execute(text("SELECT pg_sleep(30)")))


def test_wait_of_a_connection_ends_by_the_clients_own_clock(database: Database) -> None:
    """Whatever the server thinks of its statement_timeout."""

    def sleep_without_limit(conn: object) -> None:
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")  # type: ignore[attr-defined]
        conn.exec_driver_sql("SELECT pg_sleep(30)")  # type: ignore[attr-defined]

    with pytest.raises(DaypassError) as refused:
        database.read(sleep_without_limit)
    assert isinstance(refused.value.__cause__, DBAPIError)
    assert isinstance(refused.value.__cause__.orig, OperationalError)
    assert "no answer" in refused.value.private["database"]


def test_a103_lock_of_a_process_that_was_cut_off_in_its_transaction_is_free_before_a_revocation_is_late(
    prepared_postgres: PreparedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every change of the directory needs that lock, and a revocation is one."""
    monkeypatch.setattr(postgres, "_PAUSE_MS", postgres._PAUSE_MS // 10)
    with prepared_postgres.lent() as url, stalling(url) as server:
        cut_off, other = open_database(server.url), open_database(url)
        cut_off.read(feed_head)
        with pytest.raises(DBAPIError), cut_off.write_transaction() as conn:
            take_lock(conn)
            server.hang()
            with other.write_transaction() as conn_of_other:
                take_lock(conn_of_other)  # within its usual limit
            server.go_on()
            conn.execute(text("SELECT 1"))  # the server has ended this transaction
        with cut_off.write_transaction() as conn:  # on a new connection
            take_lock(conn)
        cut_off.close()
        other.close()


@pytest.mark.parametrize(("seconds", "pause"), [(None, "4s"), (3.0, "4s"), (3600.0, "15s")])
def test_write_transaction_may_pause_longer_only_where_its_statements_may_take_minutes(
    prepared_postgres: PreparedPostgres, seconds: float | None, pause: str
) -> None:
    with prepared_postgres.lent() as url:
        database = open_database(url)
        with database.write_transaction(seconds=seconds) as conn:
            assert conn.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == pause
        with database.write_transaction() as conn:
            assert conn.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "4s"
        database.close()


@pytest.mark.slow  # waits until connecting fails, several times
def test_reads_in_several_threads_of_a_server_that_hangs_all_end(server: StallingServer, database: Database) -> None:
    database.read(feed_head)
    server.hang()
    refused: list[DaypassError] = []

    def read() -> None:
        try:
            database.read(feed_head)
        except DaypassError as error:
            refused.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 8
