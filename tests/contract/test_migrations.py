"""The schema: what migrations make is what the code declares, and nothing half-made is served from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from daypass.stores import migrations
from daypass.stores.backend import UnusableDatabase
from daypass.stores.columns import metadata
from daypass.stores.engine import Database, open_database
from daypass.stores.meta import get_meta, installation
from daypass.stores.migrations import COMPATIBLE, REVISION, compatible_programs, migrate, prepare


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/daypass.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    database = open_database(empty_url)
    yield database
    database.close()


def change(database: Database, *statements: str) -> None:
    with database.write_transaction() as conn:
        for statement in statements:
            conn.execute(text(statement))


def test_migrated_schema_is_the_declared_one(database: Database) -> None:
    def differences(conn: Connection) -> list[object]:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert database.read(differences) == []


def test_migrate_twice_changes_nothing(empty: Database) -> None:
    migrate(empty)
    before = empty.read(installation), empty.epoch()
    migrate(empty)
    assert (empty.read(installation), empty.epoch()) == before
    assert [len(part) for part in before] == [32, 16]


def test_migrate_by_two_processes_at_once_makes_one_schema(empty_url: str) -> None:
    databases = [open_database(empty_url) for _ in range(3)]
    together = threading.Barrier(3)
    found: list[object] = []

    def start(database: Database) -> None:
        together.wait(60)
        try:
            prepare(database)
            found.append(database.read(installation))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            found.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for database in databases:
        database.close()
    assert len(found) == 3
    assert len(set(map(str, found))) == 1
    assert isinstance(found[0], str)


@pytest.mark.slow  # it waits for a limit of the database to pass
def test_migrate_while_another_process_migrates_waits_longer_than_for_other_locks(empty_url: str) -> None:
    if not empty_url.startswith("postgresql"):
        pytest.skip("SQLite's lock has no limit of time")
    holder, waiting = open_database(empty_url), open_database(empty_url)
    with holder.write_transaction(seconds=60) as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": migrations._MIGRATION_LOCK})
        late = threading.Thread(target=migrate, args=(waiting,))
        late.start()
        late.join(6)  # its limit for other locks is over
        assert late.is_alive()
    late.join(120)
    assert len(holder.read(installation)) == 32
    for database in (holder, waiting):
        database.close()


def test_migration_waits_for_the_lock_of_another_server_as_long_as_for_its_statements(postgres_url: str) -> None:
    database = open_database(postgres_url)
    try:
        with database.write_transaction(seconds=3600) as conn:
            limits = [conn.execute(text(f"SHOW {name}_timeout")).scalar_one() for name in ("statement", "lock")]
        with database.write_transaction() as conn:
            usual = conn.execute(text("SHOW lock_timeout")).scalar_one()
    finally:
        database.close()
    assert (limits, usual) == (["48min", "36min"], "3s")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DROP TABLE roles", "half migrated: it lacks table roles"),
        ("ALTER TABLE roles DROP COLUMN trust_bindings", "it lacks column roles.trust_bindings"),
        ("DROP TABLE alembic_version", "no revision"),
        ("DELETE FROM alembic_version", "no revision"),
        ("UPDATE alembic_version SET version_num = '9999'", "revision 9999, which this Daypass does not know"),
    ],
)
def test_a106_half_migration_refuses_start(database: Database, damage: str, says: str) -> None:
    change(database, damage)
    with pytest.raises(UnusableDatabase, match=says):
        prepare(database)


def test_a106_failing_migration_leaves_nothing_behind(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: 1 / 0)  # the revision's last step
    with pytest.raises(ZeroDivisionError):
        migrate(empty)
    monkeypatch.undo()
    migrate(empty)
    assert empty.read(installation)


# --- A rolling upgrade: an old replica starts again on the schema of the new release


FIRST_RELEASE = "0002"
"""The newest revision of release 0.1, which compares it with Alembic's table and looks at nothing else."""

REVISIONS = [
    each.revision
    for each in ScriptDirectory.from_config(migrations._config()).walk_revisions()
    if each.revision >= FIRST_RELEASE
]
"""From the newest down to release 0.1: all of them are `additive`, so that older programs may serve from the schema."""


def revisions(database: Database) -> tuple[str, str, str]:
    """What Alembic's table says, the revision of the schema, and the programs that may serve from it."""

    def read(conn: Connection) -> tuple[str, str, str]:
        alembic = conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        return str(alembic), get_meta(conn, REVISION) or "", get_meta(conn, COMPATIBLE) or ""

    return database.read(read)


def newer(database: Database, *statements: str, compatible: str | None = None) -> None:
    """What a newer release makes of the schema. `compatible`: what it says of older programs."""
    alembic, ours, _ = revisions(database)
    said = f"9999 {ours} {alembic}" if compatible is None else compatible
    change(
        database,
        f"UPDATE alembic_version SET version_num = '{(said.split() or ['9999'])[-1]}'",
        "UPDATE meta SET value = '9999' WHERE key = 'schema_revision'",
        f"UPDATE meta SET value = '{said}' WHERE key = 'schema_compatible'",
        *statements,
    )


def test_release_0_1_finds_its_own_revision_and_newer_programs_find_the_schemas(empty: Database) -> None:
    migrate(empty)
    assert revisions(empty) == (FIRST_RELEASE, REVISIONS[0], " ".join(REVISIONS))
    migrate(empty)
    assert revisions(empty) == (FIRST_RELEASE, REVISIONS[0], " ".join(REVISIONS))


@pytest.mark.parametrize("at", REVISIONS)
def test_schema_whose_revision_is_in_alembics_table_alone_is_brought_up_to_date(empty: Database, at: str) -> None:
    config = migrations._config()  # the releases before `schema_revision` did this alone
    with empty.write_transaction() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, at)
    migrate(empty)
    assert revisions(empty) == (FIRST_RELEASE, REVISIONS[0], " ".join(REVISIONS))
    prepare(empty)


@pytest.mark.parametrize("made", [False, True])
def test_index_of_notifications_by_account_is_made_unless_a_program_at_0015_has_made_it(
    empty: Database, made: bool
) -> None:
    config, name = migrations._config(), "ix_notifications_outcome_account_next_at"
    with empty.write_transaction() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0015")
        if made:
            conn.execute(text(f"CREATE INDEX {name} ON notifications (outcome, account, next_at)"))
    migrate(empty)
    found = empty.read(lambda conn: inspect(conn).get_indexes("notifications"))
    assert [each["column_names"] for each in found if each["name"] == name] == [["outcome", "account", "next_at"]]


def test_program_starts_on_a_newer_schema_that_names_it_and_changes_nothing(database: Database) -> None:
    prepare(database)
    newer(database, "CREATE TABLE news (id INTEGER)", "ALTER TABLE users ADD COLUMN nickname TEXT")
    before = revisions(database)
    prepare(database)
    assert revisions(database) == before
    assert before[1] == "9999"
    change(database, "DROP TABLE news", "ALTER TABLE users DROP COLUMN nickname")


@pytest.mark.parametrize("said", ["", "9999", "9999 9998", "99990002"])
def test_program_is_refused_on_a_newer_schema_that_does_not_name_it(database: Database, said: str) -> None:
    prepare(database)
    newer(database, compatible=said)
    with pytest.raises(UnusableDatabase, match=r"999[89]"):
        prepare(database)


def test_program_is_refused_on_a_newer_schema_that_needs_a_value_it_does_not_know(database: Database) -> None:
    prepare(database)
    newer(
        database, "CREATE TABLE news (id INTEGER NOT NULL)", "ALTER TABLE meta ADD COLUMN more TEXT NOT NULL DEFAULT ''"
    )
    prepare(database)
    if database.dialect == "postgresql":  # SQLite adds no such column to a table that is there
        change(database, "ALTER TABLE meta ALTER COLUMN more DROP DEFAULT")
        with pytest.raises(UnusableDatabase, match=r"meta\.more"):
            prepare(database)
    change(database, "DROP TABLE news", "ALTER TABLE meta DROP COLUMN more")


def test_newer_schema_that_lacks_what_we_need_is_refused_whatever_it_says(database: Database) -> None:
    prepare(database)
    newer(database, "ALTER TABLE users RENAME COLUMN path TO way")
    with pytest.raises(UnusableDatabase, match=r"users\.path"):
        prepare(database)
    change(database, "ALTER TABLE users RENAME COLUMN way TO path")


def test_compatible_programs_end_at_the_first_revision_that_is_not_additive() -> None:
    class Revision:
        def __init__(self, revision: str, *, additive: bool | None) -> None:
            self.revision = revision
            self.module = SimpleNamespace(**({} if additive is None else {"additive": additive}))

    class Script:
        def walk_revisions(self) -> list[Revision]:
            return [
                Revision("5", additive=True),
                Revision("4", additive=True),
                Revision("3", additive=None),
                Revision("2", additive=True),
            ]

    assert compatible_programs(Script()) == ["5", "4", "3"]  # type: ignore[arg-type]


def test_migrate_to_0018_lets_a_reader_of_the_previous_release_finish(postgres_url: str) -> None:
    """It reads sessions and then the events that issued them, in one transaction: the order in which tables are locked."""
    database, reading = open_database(postgres_url), open_database(postgres_url)
    prepare(database)
    index = "CREATE INDEX {} ON {}"
    change(
        database,
        "DROP INDEX ix_revocations_account_subject_value",
        "DROP INDEX ix_sessions_active",
        "DROP INDEX ix_audit_records_session_use",
        index.format("ix_audit_records_session_key", "audit_records (session_key)"),
        index.format("ix_sessions_issued_at", "sessions (issued_at)"),
        f"UPDATE meta SET value = '0017' WHERE key = '{REVISION}'",
    )
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass")
    late = threading.Thread(target=migrate, args=(database,))

    def read(conn: Connection) -> int:
        conn.execute(text("SELECT count(*) FROM sessions"))
        late.start()
        while late.is_alive() and not conn.execute(waits).scalar_one():
            late.join(0.01)
        return int(conn.execute(text("SELECT count(*) FROM audit_records")).scalar_one())

    try:
        assert reading.read(read) >= 0
        late.join(60)
        assert revisions(database)[1] == migrations.newest_revision()
    finally:
        database.close()
        reading.close()


def test_migrate_to_0019_deletes_resources_of_scim_without_their_user_or_group(database: Database) -> None:
    prepare(database)
    insert = "INSERT INTO scim_resources VALUES ('{}', '1', '{}', '', '{{}}', 1, 1, 1)"
    change(
        database,
        "INSERT INTO groups (id, account, name, name_key, path, created_at) VALUES ('AGPA1', '1', 'g', 'g', '/', 1)",
        insert.format("AGPA1", "Group"),
        insert.format("AIDA1", "User"),
        "DROP INDEX ix_revocations_account_subject_value",
        "DROP INDEX ix_sessions_active",
        f"UPDATE meta SET value = '0018' WHERE key = '{REVISION}'",
    )
    prepare(database)
    found = database.read(lambda conn: conn.execute(text("SELECT id FROM scim_resources")).scalars().all())
    assert found == ["AGPA1"]
