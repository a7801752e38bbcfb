"""Databases that have the schema already, for tests that are not about migrations.

Each process that runs tests migrates once: the SQLite file is copied from then on; the PostgreSQL database is lent to one
test after another, emptied in between (to make a copy takes ten times as long as to empty it). What a server does to a
database before it serves is `migrations.prepare`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.postgres import PostgresServer

from daypass.stores.columns import metadata
from daypass.stores.engine import open_database
from daypass.stores.migrations import migrate, prepare

# Changes of a test beside the rows: any table, index or column made anew has another number.
_SHAPE = """SELECT attrelid, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace ORDER BY attrelid, attnum"""
_WRITTEN = """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
              AND pg_relation_size(oid) > 0"""
_DISCONNECT = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def prepare_sqlite(path: Path) -> str:
    """Makes a new database at `path`, or prepares the one that is there as a start does; its URL."""
    url = f"sqlite:///{path}"
    if path.exists():
        with closing(open_database(url)) as database:
            prepare(database)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_migrated_file())
    return url


@cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "daypass.db"
        with closing(open_database(f"sqlite:///{path}")) as database:
            migrate(database)
        return path.read_bytes()  # closed: nothing is left in its write-ahead log


class PreparedPostgres:
    """Lends databases of one server. Its tests have them one after the other, as if each were just migrated."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._idle: list[_Lendable] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URL of a database that has the schema and the rows that come with it."""
        database = self._idle.pop() if self._idle else _Lendable(self._server)
        try:
            yield database.url
        finally:
            if database.empty():
                self._idle.append(database)
            else:
                self._server.drop_database(database.name)

    def close(self) -> None:
        for database in self._idle:
            self._server.drop_database(database.name)


class _Lendable:
    def __init__(self, server: PostgresServer) -> None:
        self.name = server.create_database()
        self.url = server.url(self.name)
        with closing(open_database(self.url)) as database:
            migrate(database)
        self._tables = [*(table.name for table in metadata.sorted_tables), "alembic_version"]
        with psycopg.connect(self.url) as conn:
            self._shape = conn.execute(_SHAPE).fetchall()
            select = sql.SQL("SELECT * FROM {}")
            every = map(sql.Identifier, self._tables)
            self._rows = [(table, conn.execute(select.format(table)).fetchall()) for table in every]

    def empty(self) -> bool:
        """Back to what a migration leaves. False when the tables are others now."""
        with psycopg.connect(self.url) as conn:
            conn.execute(_DISCONNECT)
            if conn.execute(_SHAPE).fetchall() != self._shape:
                return False
            written = {name for (name,) in conn.execute(_WRITTEN)}  # once, by any test: the others need no deletion
            names = [sql.Identifier(name) for name in reversed(self._tables) if name in written]
            conn.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(name) for name in names))
            for table, rows in self._rows:
                self._insert(conn, table, rows)
        return True

    def _insert(self, conn: psycopg.Connection[Any], table: sql.Identifier, rows: list[Any]) -> None:
        for row in rows:
            values = sql.SQL(", ").join(sql.Placeholder() * len(row))
            conn.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, values), row)


@pytest.fixture(scope="session")
def prepared_postgres(postgres_server: PostgresServer) -> Iterator[PreparedPostgres]:
    """For a `conftest.py` to import, together with `postgres_server`."""
    with closing(PreparedPostgres(postgres_server)) as prepared:
        yield prepared


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the schema, of each kind; to import likewise."""
    if request.param == "sqlite":
        yield prepare_sqlite(tmp_path / "daypass.db")
        return
    prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
    with prepared.lent() as url:
        yield url
