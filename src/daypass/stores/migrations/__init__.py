"""Brings a database to the schema of this program, and refuses one that cannot be brought there.

It must never touch a database that a newer program has changed, nor leave one half changed: everything happens in one
transaction, and of two processes that start at once one waits for the other.
"""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from daypass.observability import logs
from daypass.stores import records, schema
from daypass.stores.backend import UnusableDatabase
from daypass.stores.engine import Database
from daypass.stores.metadata import metadata

_DECLARED = (schema, records)  # importing them puts their tables on `metadata`
_MIGRATION_LOCK = 0x6D696772617465  # "migrate"


def prepare(database: Database, now: int | None = None) -> bool:
    """All that a server does to a database before it serves: check its pages, migrate, notice a restored copy.

    Returns whether it was a restored or swapped copy, in which case every session has been ended. Call it once for
    each start, before worker processes open the database. `now`: ms, by default the system's.

    Raises:
        UnusableDatabase: corrupt, half migrated, or made by a newer Daypass.
        DaypassError: UNAVAILABLE when it cannot be reached.
    """
    database.check()
    migrate(database)
    restored = database.settle(time.time_ns() // 1_000_000 if now is None else now)
    if restored:
        logs.get().warning("database.restored", consequence="every session has been ended")
    return restored


def migrate(database: Database) -> None:
    """Brings the schema to the newest revision; does nothing when it is there. See `prepare` for errors."""
    config = _config()
    script = ScriptDirectory.from_config(config)
    with database.write_transaction() as conn:
        if database.dialect == "postgresql":
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        current = _revision(conn, script)
        if current != script.get_current_head():
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
        _refuse_incomplete(conn)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _revision(conn: Connection, script: ScriptDirectory) -> str | None:
    """The schema's revision, None when there is no schema."""
    heads = MigrationContext.configure(conn).get_current_heads()
    if not heads:
        ours = sorted(set(inspect(conn).get_table_names()) & set(metadata.tables))
        if ours:
            raise UnusableDatabase(
                f"the database has tables of Daypass ({ours[0]}, …) but no revision: restore a backup"
            )
        return None
    known = {revision.revision for revision in script.walk_revisions()}
    if len(heads) > 1 or heads[0] not in known:
        found = ", ".join(heads)
        raise UnusableDatabase(
            f"the database has schema revision {found}, which this Daypass does not know: use a newer one"
        )
    return heads[0]


def _refuse_incomplete(conn: Connection) -> None:
    """A revision is only a claim: look whether the tables and columns that it stands for are there."""
    inspector = inspect(conn)
    present = {key[1]: {column["name"] for column in found} for key, found in inspector.get_multi_columns().items()}
    for table in metadata.sorted_tables:
        missing = {column.name for column in table.columns} - present.get(table.name, set())
        if missing:
            lacks = f"table {table.name}" if table.name not in present else f"column {table.name}.{min(missing)}"
            raise UnusableDatabase(f"the database is half migrated: it lacks {lacks}. Restore a backup")
