"""Migrates a database to the format of this program, and refuses a database of another format.

It must never change a database that a newer program has migrated, and never leave one half migrated. Everything happens
in one transaction, and if two processes start at the same time, one waits for the other.

The format is the newest revision. During a rolling upgrade an old replica may have to start again on the format of the new
release. So a revision that only adds what an older program does not need says `additive = True`, and each migration stores
which formats' programs may serve. A program that finds its format in that list starts without migrating.
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
from daypass.stores import entities, records
from daypass.stores.backend import RestoreCheck, UnusableDatabase
from daypass.stores.columns import metadata
from daypass.stores.engine import PATIENT_SECONDS, Database
from daypass.stores.meta import get_meta, put_meta

_DECLARED = (entities, records)  # importing them adds every table to `metadata`
NEWER = "newer"
COMPATIBLE = "schema_compatible"
"""Key in `meta`: the formats whose programs may serve from the database, its own first."""
_MIGRATION_LOCK = 0x6D696772617465  # "migrate"


def prepare(database: Database, now: int | None = None) -> RestoreCheck:
    """Prepares a database before the server uses it: checks its pages, migrates it and detects a restored copy.

    Returns whether it was a restored or replaced copy, in which case every session has been ended, and which records
    are missing. Call it once for each start, before worker processes open the database. `now`: ms, by default the
    system's.

    Raises:
        UnusableDatabase: corrupt, half migrated, or made by a newer Daypass.
        DaypassError: UNAVAILABLE when it cannot be reached.
    """
    database.check()
    migrate(database)
    check = database.detect_restore(time.time_ns() // 1_000_000 if now is None else now)
    lost = check.losses
    if check.replaced or lost.heads:
        ended = {"consequence": "every session has been ended", "revocations_restored": check.revocations}
        logs.get().warning("database.restored", **ended)
    if lost.heads:
        logs.get().error("database.events_missing", **lost.detail())
    return check


def migrate(database: Database) -> None:
    """Migrates the schema to the newest revision, if necessary. See `prepare` for errors."""
    config = _config()
    script = ScriptDirectory.from_config(config)
    with database.write_transaction(seconds=PATIENT_SECONDS) as conn:
        if database.dialect == "postgresql":
            _wait_for_others(conn)
        current = _find_format(conn, script)
        if current != NEWER and current != script.get_current_head():
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
            put_meta(conn, COMPATIBLE, " ".join(compatible_programs(script)))
        _refuse_incomplete(conn)
        if current == NEWER:
            _refuse_unwritable(conn)


def _wait_for_others(conn: Connection) -> None:
    """Waits for a process that is migrating, as long as this transaction may wait for a lock.

    The usual limit applies to the migration itself: while ALTER TABLE waits for a lock, every other use of the table waits too.
    """
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    conn.execute(text("SET LOCAL lock_timeout TO DEFAULT"))


def program_format() -> str:
    """The format of this program."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def compatible_programs(script: ScriptDirectory) -> list[str]:
    """The formats whose programs may serve from the newest format, newest first."""
    programs: list[str] = []
    for revision in script.walk_revisions():  # from the newest revision down
        programs.append(revision.revision)
        if not getattr(revision.module, "additive", False):
            break
    return programs


def database_format(conn: Connection) -> str:
    """The format of a database; "" for one without a schema. More than one revision: they are shown together."""
    return ", ".join(MigrationContext.configure(conn).get_current_heads())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _find_format(conn: Connection, script: ScriptDirectory) -> str | None:
    """The database's format, None when there is no schema, NEWER for one that we may serve from but not migrate."""
    found, ours = database_format(conn), script.get_current_head() or ""
    if not found:
        tables = sorted(set(inspect(conn).get_table_names()) & set(metadata.tables))
        if tables:
            raise UnusableDatabase(
                f"the database has tables of Daypass ({tables[0]}, …) but no format: restore a backup"
            )
        return None
    if found in {revision.revision for revision in script.walk_revisions()}:
        return found
    if _may_serve(conn, found, ours):
        logs.get().warning("database.schema_newer", revision=found, ours=ours)
        return NEWER
    raise UnusableDatabase(
        f"the database has format {found}, and this Daypass has format {ours}: start the release that wrote the database"
    )


def _may_serve(conn: Connection, found: str, ours: str) -> bool:
    """Whether the migration to `found` declares that programs like this one may serve."""
    if "meta" not in inspect(conn).get_table_names():
        return False
    programs = (get_meta(conn, COMPATIBLE) or "").split()
    return programs[:1] == [found] and ours in programs


def _refuse_unwritable(conn: Connection) -> None:
    """A newer schema must not require columns that this program does not know, whatever it declares."""
    for (_, table), columns in inspect(conn).get_multi_columns().items():
        ours = metadata.tables.get(table)
        if ours is None:
            continue
        for column in columns:
            if column["name"] not in ours.columns and not column["nullable"] and column["default"] is None:
                raise UnusableDatabase(
                    f"the database is of a newer Daypass, which needs column {table}.{column['name']}: use that one"
                )


def _refuse_incomplete(conn: Connection) -> None:
    """A revision is only a claim. This checks that its tables and columns exist."""
    inspector = inspect(conn)
    present = {key[1]: {column["name"] for column in columns} for key, columns in inspector.get_multi_columns().items()}
    for table in metadata.sorted_tables:
        missing = {column.name for column in table.columns} - present.get(table.name, set())
        if missing:
            lacks = f"table {table.name}" if table.name not in present else f"column {table.name}.{min(missing)}"
            raise UnusableDatabase(f"the database is half migrated: it lacks {lacks}. Restore a backup")
