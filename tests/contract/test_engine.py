"""Opening, reading and writing: snapshots, durability, the lock between writers, and databases not to be served from."""

from __future__ import annotations

import fcntl
import secrets
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError, OperationalError
from tests.contract.conftest import Opener
from tests.contract.making import ACCOUNT, NOW, Recorder, insert, read, role, session, user
from tests.postgres import PostgresServer

from daypass.domain.directory import Account, Revocation, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.revocation_index import RevocationIndex
from daypass.domain.session import FeedPosition
from daypass.stores.backend import UnusableDatabase
from daypass.stores.engine import Database, open_database
from daypass.stores.feed import feed_head
from daypass.stores.migrations import prepare
from daypass.stores.sqlite import SqliteFile


def open_prepared(path: Path, now: int = NOW) -> tuple[Database, bool]:
    database = open_database(f"sqlite:///{path}")
    try:
        return database, prepare(database, now).replaced
    except BaseException:
        database.close()
        raise


# --- URLs


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///:memory:", "sqlite:///x?mode=ro", "mysql://h/d", "nonsense", "postgresql:/x:y@"]
)
def test_open_refuses_other_urls_without_repeating_them(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///") as caught:
        open_database(url)
    assert "nonsense" not in str(caught.value)


def test_postgresql_away_is_unavailable_and_tells_no_password() -> None:
    database = open_database("postgresql://daypass:hunter2@127.0.0.1:1/none")
    with pytest.raises(DaypassError) as caught:
        database.read(feed_head)
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert "hunter2" not in f"{caught.value.public}{caught.value.private}"
    with pytest.raises(DaypassError):
        database.check()
    database.close()


def test_close_while_a_read_runs_closes_its_connection_afterwards(opener: Opener) -> None:
    database = opener()
    used: list[Any] = []
    reading, closed = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        used.append(conn.connection.driver_connection)
        reading.set()
        assert closed.wait(30)

    thread = threading.Thread(target=database.read, args=(slow,))
    thread.start()
    assert reading.wait(30)
    database.close()
    closed.set()
    thread.join(30)
    with pytest.raises(Exception, match="closed"):
        used[0].cursor()


# --- Reads and writes


def test_read_sees_one_state_of_the_database(opener: Opener) -> None:
    reader, writer = opener(), opener()

    def twice(conn: Any) -> list[int]:
        first = conn.execute(text("SELECT count(*) FROM users")).scalar_one()
        insert(writer, user("a"))
        return [first, conn.execute(text("SELECT count(*) FROM users")).scalar_one()]

    assert reader.read(twice) == [0, 0]
    assert read(reader, lambda tx: tx.count(User)) == 1


def test_read_cannot_write(database: Database) -> None:
    with pytest.raises(DaypassError) as caught:
        database.read(lambda conn: conn.execute(text("DELETE FROM users")))
    assert caught.value.kind is ErrorKind.UNAVAILABLE


def test_write_transaction_is_durable_by_its_settings(durable: None, database: Database) -> None:
    settings: dict[str, dict[str, Any]] = {
        "sqlite": {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2},
        "postgresql": {
            "SHOW synchronous_commit": "on",
            "SHOW lock_timeout": "3s",
            "SHOW statement_timeout": "4s",
            "SHOW idle_in_transaction_session_timeout": "4s",
        },
    }
    with database.write_transaction() as conn:
        found = {ask: conn.execute(text(ask)).scalar_one() for ask in settings[database.dialect]}
    assert found == settings[database.dialect]


def test_write_transaction_that_raises_writes_nothing(database: Database) -> None:
    before = database.read(lambda conn: conn.execute(text("SELECT count(*) FROM meta")).scalar_one())
    assert before
    with pytest.raises(RuntimeError), database.write_transaction() as conn:
        conn.execute(text("DELETE FROM meta"))
        raise RuntimeError("undo")
    assert database.read(lambda conn: conn.execute(text("SELECT count(*) FROM meta")).scalar_one()) == before


def test_reads_go_on_while_a_writer_is_slow(opener: Opener) -> None:
    reader, writer = opener(), opener()
    with writer.write_transaction() as conn:
        conn.execute(text("DELETE FROM meta"))
        assert read(reader, lambda tx: tx.count(User)) == 0


def test_writers_queue_and_none_starves(opener: Opener) -> None:
    """Three writers at once, each as often as it can. Counted in turns, however long one takes: a writer that starves has
    few turns when the others have had hundreds.
    """
    writers, wanted, most = 3, 20, 1_200
    databases = [opener() for _ in range(writers)]
    turns = [0] * writers
    together = threading.Barrier(writers)

    def work(number: int) -> None:
        together.wait(60)
        while min(turns) < wanted and sum(turns) < most:
            with databases[number].write_transaction() as conn:
                conn.execute(text("UPDATE meta SET value = value WHERE key = 'installation'"))
                turns[number] += 1
                time.sleep(0.003)  # an fsync

    threads = [threading.Thread(target=work, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert min(turns) >= wanted, turns


def test_process_that_is_stopped_while_it_waits_holds_up_nobody(tmp_path: Path) -> None:
    """As one that is paused between being the next in turn and having the lock."""
    database, _ = open_prepared(tmp_path / "daypass.db")
    written = threading.Event()

    def write() -> None:
        insert(database, Account(ACCOUNT, "alpha", False, NOW))
        written.set()

    with (tmp_path / "daypass.db-next").open() as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        thread = threading.Thread(target=write)
        thread.start()
        in_time = written.wait(60)
    thread.join()
    database.close()
    assert in_time


def test_dead_connections_in_the_pool_are_replaced(postgres_url: str) -> None:
    database = open_database(postgres_url)
    kill = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    database.read(lambda conn: conn.execute(text("SELECT 1")))
    with database.write_transaction() as conn:
        conn.execute(kill)
    assert database.read(lambda conn: conn.execute(text("SELECT 1")).scalar_one()) == 1
    database.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_postgresql_database_in_another_encoding_refuses_start_and_says_how_to_make_one(
    postgres_server: PostgresServer, encoding: str
) -> None:
    name = f"daypass_{secrets.token_hex(8)}"
    postgres_server.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    database = open_database(postgres_server.url(name))
    try:
        with pytest.raises(UnusableDatabase, match=f"it has {encoding}: create it with ENCODING 'UTF8'"):
            database.check()
    finally:
        database.close()
        postgres_server.drop_database(name)


def test_epoch_is_short_and_the_same_for_everyone(opener: Opener) -> None:
    first, second = opener(), opener()
    assert first.epoch() == second.epoch()
    assert len(first.epoch()) == 16


def test_epoch_of_a_restored_postgresql_dump_differs(database: Database) -> None:
    """A table made anew in the same cluster, with the same rows, is another life."""
    if database.dialect != "postgresql":
        pytest.skip("of SQLite the file is watched")
    before = database.epoch()
    with database.write_transaction() as conn:
        conn.execute(text("CREATE TABLE copy AS SELECT * FROM feed_counter"))
        conn.execute(text("DROP TABLE feed_counter"))
        conn.execute(text("ALTER TABLE copy RENAME TO feed_counter"))
    assert database.epoch() != before


def test_postgresql_needs_no_superuser(database: Database) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has no users")

    def as_anyone(conn: Any) -> str:
        conn.execute(text("SET ROLE pg_read_all_data"))
        return feed_head(conn).epoch

    assert database.read(as_anyone) == database.epoch()


# --- SQLite files that are not what they were


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    database, _ = open_prepared(tmp_path / "deep" / "daypass.db")
    insert(database, user("a"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "deep").iterdir()}
    database.close()
    assert set(modes) >= {"daypass.db", "daypass.db-wal", "daypass.db-lock", "daypass.db-next"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("first", [2, 60])
def test_a106_corrupt_page_refuses_start(tmp_path: Path, first: int) -> None:
    """Pages of the schema are noticed when the file is opened, pages of data by the check."""
    path = tmp_path / "daypass.db"
    database, _ = open_prepared(path)
    insert(database, *(user(f"u{number}", id=f"AIDA{number}", path="/x" * 200 + "/") for number in range(200)))
    database.close()
    data = bytearray(path.read_bytes())
    assert len(data) > 80 * 4096
    for page in range(first, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(data)
    with pytest.raises(UnusableDatabase, match=r"corrupt|cannot be opened: database disk image is malformed"):
        open_prepared(path)


@pytest.mark.parametrize(
    "content", [b"this is no database, whatever its name says" * 200, b"SQLite format 3\0" + b"\xff" * 4080]
)
def test_a106_file_that_is_no_database_refuses_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "daypass.db"
    path.write_bytes(content)
    with pytest.raises(UnusableDatabase, match="cannot be opened"):
        open_prepared(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full", "The disk is full: free some space."),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "disk I/O error", "The disk reports an error: check its free space"),
    ],
)
def test_open_sqlite_on_a_disk_that_is_full_names_the_file_and_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, advice: str
) -> None:
    def full(_: SqliteFile, anchor: sqlite3.Connection) -> None:
        anchor.close()
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(SqliteFile, "watch_log", full)  # on a connection of the driver, outside the pools
    with pytest.raises(UnusableDatabase, match=f"daypass.db cannot be opened: {words}. {advice}"):
        open_database(f"sqlite:///{tmp_path}/daypass.db")


def test_directory_in_place_of_the_file_refuses_start(tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabase):
        open_database(f"sqlite:///{tmp_path}")


def test_restart_is_the_same_life(tmp_path: Path) -> None:
    path = tmp_path / "daypass.db"
    database, restored = open_prepared(path)
    insert(database, user("a"))
    epoch = database.epoch()
    database.close()
    assert not restored
    for _ in range(2):
        database, restored = open_prepared(path)
        assert (restored, database.epoch()) == (False, epoch)
        insert(database, user(f"b{_}"))
        database.close()


def test_a105_older_copy_put_back_is_another_life_and_ends_every_session(tmp_path: Path) -> None:
    path, backup = tmp_path / "daypass.db", tmp_path / "backup.db"
    database, _ = open_prepared(path)
    insert(database, Account(ACCOUNT, "one", operator=True, created_at=NOW), role("Deploy"))
    epoch = database.epoch()
    database.close()
    shutil.copy(path, backup)
    database, _ = open_prepared(path)
    insert(database, Revocation("r", ACCOUNT, "role", role("Deploy").id, NOW, NOW))
    database.close()
    path.write_bytes(backup.read_bytes())  # the same inode: only the position tells

    database, restored = open_prepared(path, NOW + 5)
    assert restored
    assert database.epoch() != epoch
    index = RevocationIndex(database.epoch())
    for revocation in read(database, lambda tx: tx.find(Revocation)):
        index.add(revocation)
    assert index.revoked(session(FeedPosition(epoch, 3), role("Deploy").id)) is not None
    head = database.read(feed_head)
    afresh = session(FeedPosition(head.epoch, head.position), role("Deploy").id, issued_at=NOW + 5)
    assert index.revoked(afresh) is None
    database.close()
    database, restored = open_prepared(path)
    assert not restored
    database.close()


@pytest.mark.parametrize("lost", ["side file", "inode"])
def test_copied_file_is_another_life(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "daypass.db"
    database, _ = open_prepared(path)
    insert(database, user("a"))
    epoch = database.epoch()
    database.close()
    if lost == "side file":
        (tmp_path / "daypass.db-lock").unlink()
    else:
        shutil.copy(path, tmp_path / "copy.db")
        (tmp_path / "copy.db").replace(path)
    database, restored = open_prepared(path)
    assert restored
    assert database.epoch() != epoch
    database.close()


def test_file_replaced_while_in_use_takes_no_more_writes(tmp_path: Path) -> None:
    """A write to a file that has lost its name must not be acknowledged."""
    path = tmp_path / "daypass.db"
    database, _ = open_prepared(path)
    insert(database, user("a"))
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    assert not database.suspect()
    copy.replace(path)
    assert database.suspect()
    with pytest.raises(OperationalError, match="replaced while in use"):
        insert(database, user("b"))
    path.unlink()
    with pytest.raises(DBAPIError, match="replaced while in use"):
        insert(database, user("c"))
    database.close()


async def test_restored_database_flushes_a_directory_that_starts_on_it(tmp_path: Path) -> None:
    """End to end: what a session saw before is before everything in the new life."""
    path = tmp_path / "daypass.db"
    database, _ = open_prepared(path)
    insert(database, Account(ACCOUNT, "one", operator=True, created_at=NOW))
    first = Recorder().directory(database)
    await first.start()
    claims = session(first.seen(), role("Deploy").id)
    await first.stop()
    database.close()
    (tmp_path / "daypass.db-lock").unlink()
    database, _ = open_prepared(path, NOW)
    second = Recorder().directory(database)
    await second.start()
    assert second.revoked(claims) is not None
    await second.stop()
    database.close()


def test_h6_epoch_that_the_operator_names_needs_no_function_of_the_cluster(postgres_url: str) -> None:
    opened = [open_database(postgres_url, epoch=name) for name in ("one", "one", "two", "")]
    try:
        prepare(opened[0])
        one, same, two, own = (database.epoch() for database in opened)
        assert one == same
        assert len({one, two, own}) == 3
        with opened[0].write_transaction() as conn:
            statements: list[str] = []
            listen(conn, "before_cursor_execute", lambda *args: statements.append(args[2]))
            feed_head(conn)
        assert not [statement for statement in statements if "pg_control" in statement]
    finally:
        for database in opened:
            database.close()
