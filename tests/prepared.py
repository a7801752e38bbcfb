"""Databases that have the schema already: migrated once by each process that runs tests, then copied.

For tests that are not about migrations. What a server does to a database before it serves is `migrations.prepare`.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from tests.postgres import PostgresServer

from daypass.stores.engine import open_database
from daypass.stores.migrations import migrate, prepare


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
def postgres_template(server: PostgresServer) -> str:
    """The name of a database with the schema on `server`, to be given to `create_database`."""
    name = server.create_database()
    with closing(open_database(server.url(name))) as database:
        migrate(database)
    return name


@cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "daypass.db"
        with closing(open_database(f"sqlite:///{path}")) as database:
            migrate(database)
        return path.read_bytes()  # closed: nothing is left in its write-ahead log
