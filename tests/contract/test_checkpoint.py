"""SQLite's write-ahead log is checkpointed beside the writer, and nothing depends on it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from daypass.stores import meta as checkpoint
from daypass.stores import sqlite
from daypass.stores.engine import Database, open_database
from daypass.stores.meta import Checkpointer

ROW = "x" * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def database(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Whose writer brings nothing home by itself."""
    pragmas = tuple("wal_autocheckpoint=0" if "autocheckpoint" in pragma else pragma for pragma in sqlite._PRAGMAS)
    monkeypatch.setattr(sqlite, "_PRAGMAS", pragmas)
    opened = open_database(f"sqlite:///{path}")
    with opened.write_transaction() as conn:
        conn.execute(text("CREATE TABLE t (x TEXT)"))
    yield opened
    opened.close()


def write(database: Database, rows: int) -> None:
    with database.write_transaction() as conn:
        conn.execute(text("INSERT INTO t VALUES (:x)"), [{"x": ROW}] * rows)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "daypass-checkpoint"]


def comes_true(condition: Callable[[], bool]) -> bool:
    for _ in range(6_000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_checkpoint_after_many_rows_brings_them_home(database: Database, path: Path) -> None:
    """It is asked for at a commit, of which it may or may not see the rows: those before it are home in the end."""
    rows = checkpoint._ROWS
    write(database, rows // 2)
    assert path.stat().st_size < rows // 2 * len(ROW)
    for _ in range(3):
        write(database, rows)
    assert comes_true(lambda: path.stat().st_size > 2 * rows * len(ROW))
    assert database.read(lambda conn: conn.execute(text("SELECT count(*) FROM t")).scalar_one()) == rows * 7 // 2


def test_checkpoint_of_few_rows_is_not_made(database: Database) -> None:
    before = threads()
    write(database, 100)
    assert threads() == before


def test_close_ends_the_thread(tmp_path: Path) -> None:
    before = threads()
    database = open_database(f"sqlite:///{tmp_path / 'y.db'}")
    with database.write_transaction() as conn:
        conn.execute(text("CREATE TABLE t (x TEXT)"))
    write(database, checkpoint._ROWS)
    (mine,) = set(threads()) - set(before)
    database.close()
    assert not mine.is_alive()


def test_checkpoint_that_fails_harms_nobody_and_is_tried_again(tmp_path: Path) -> None:
    tries: list[int] = []

    def connect() -> sqlite3.Connection:
        tries.append(len(tries))
        raise sqlite3.OperationalError("disk I/O error")

    checkpointer = Checkpointer(connect)
    for changes in range(checkpoint._ROWS, 50 * checkpoint._ROWS, checkpoint._ROWS):
        checkpointer.note(changes)
        if len(tries) < 2:
            comes_true(lambda: len(tries) > 0)
    assert comes_true(lambda: len(tries) >= 2)
    checkpointer.close()


def test_checkpoint_counts_anew_when_the_writer_has_another_connection() -> None:
    made: list[str] = []

    class Counting(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            made.append(sql)
            return super().execute(sql, *args)  # type: ignore[arg-type]

    checkpointer = Checkpointer(lambda: sqlite3.connect(":memory:", factory=Counting))
    checkpointer.note(10 * checkpoint._ROWS)
    assert comes_true(lambda: len(made) == 1)
    checkpointer.note(5)  # less than before: that connection has just been opened
    assert comes_true(lambda: len(made) == 2)
    checkpointer.note(5 + checkpoint._ROWS)
    assert comes_true(lambda: len(made) == 3)
    checkpointer.close()
