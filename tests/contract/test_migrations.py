"""The schema: what migrations make is what the code declares, and nothing half-made is served from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from daypass.stores import migrations
from daypass.stores.backend import UnusableDatabase
from daypass.stores.columns import metadata
from daypass.stores.engine import Database, open_database
from daypass.stores.meta import get_meta, installation
from daypass.stores.migrations import COMPATIBLE, database_format, migrate, prepare, program_format


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
        ("DROP TABLE alembic_version", "no format"),
        ("DELETE FROM alembic_version", "no format"),
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


# --- A rolling upgrade: an old replica starts again on the format of the new release


VERSIONS = Path(migrations.__file__).parent / "versions"
EXAMPLE = Path(__file__).parent / "example_migrations"


@pytest.fixture
def migrate_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Migrates as a later release would, which has the revisions in these folders of `example_migrations`, too."""

    def run(database: Database, *folders: str) -> None:
        config = migrations._config()
        config.set_main_option(
            "version_locations", ";".join(map(str, (VERSIONS, *(EXAMPLE / name for name in folders))))
        )
        config.set_main_option("path_separator", ";")
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "_config", lambda: config)
            patched.setattr(migrations, "_refuse_incomplete", lambda _: None)  # the tables are those of this release
            migrate(database)

    return run


def formats(database: Database) -> tuple[str, str]:
    """The format of the database, and those whose programs may serve from it."""
    return database.read(lambda conn: (database_format(conn), get_meta(conn, COMPATIBLE) or ""))


def test_program_starts_on_an_expanded_schema_and_changes_nothing(
    empty: Database, migrate_to: Callable[..., None]
) -> None:
    prepare(empty)
    migrate_to(empty, "expand")
    before = formats(empty)
    assert before == ("2.expand", f"2.expand {program_format()}")
    prepare(empty)
    assert formats(empty) == before


def test_h4_older_program_is_refused_on_a_contracted_schema_in_one_sentence_with_both_formats(
    empty: Database, migrate_to: Callable[..., None]
) -> None:
    prepare(empty)
    migrate_to(empty, "expand")
    migrate_to(empty, "expand", "contract")
    assert formats(empty) == ("3.contract", "3.contract")
    with pytest.raises(
        UnusableDatabase, match=f"has format 3.contract, and this Daypass has format {program_format()}"
    ):
        prepare(empty)


@pytest.mark.parametrize("found", ["0020", "1.00000000", "9999"])
def test_h4_database_of_another_format_is_refused_and_not_changed(database: Database, found: str) -> None:
    change(database, f"UPDATE alembic_version SET version_num = '{found}'")
    before = formats(database)
    with pytest.raises(UnusableDatabase, match=f"has format {found}, and this Daypass has format {program_format()}"):
        prepare(database)
    assert formats(database) == before


@pytest.mark.parametrize("said", ["", "9999", "9999 9998", "9998 {ours}"])
def test_program_is_refused_on_a_newer_schema_that_does_not_name_it(database: Database, said: str) -> None:
    change(
        database,
        "UPDATE alembic_version SET version_num = '9999'",
        f"UPDATE meta SET value = '{said.format(ours=program_format())}' WHERE key = '{COMPATIBLE}'",
    )
    with pytest.raises(UnusableDatabase, match="has format 9999"):
        prepare(database)


def newer(database: Database, *statements: str) -> None:
    """A newer release's schema, from which this program may serve."""
    change(
        database,
        "UPDATE alembic_version SET version_num = '9999'",
        f"UPDATE meta SET value = '9999 {program_format()}' WHERE key = '{COMPATIBLE}'",
        *statements,
    )


def test_program_is_refused_on_a_newer_schema_that_needs_a_value_it_does_not_know(database: Database) -> None:
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
    newer(database, "ALTER TABLE users RENAME COLUMN path TO way")
    with pytest.raises(UnusableDatabase, match=r"users\.path"):
        prepare(database)
    change(database, "ALTER TABLE users RENAME COLUMN way TO path")
