"""The schema: what migrations make is what the code declares, and nothing half-made is served from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from daypass.stores.backend import UnusableDatabase
from daypass.stores.engine import Database, open_database
from daypass.stores.meta import installation
from daypass.stores.metadata import metadata
from daypass.stores.migrations import migrate, prepare


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
    before = empty.read(installation), empty.incarnation()
    migrate(empty)
    assert (empty.read(installation), empty.incarnation()) == before
    assert [len(part) for part in before] == [32, 16]


def test_migrate_by_two_processes_at_once_makes_one_schema(empty_url: str) -> None:
    databases = [open_database(empty_url) for _ in range(3)]
    together = threading.Barrier(3)
    found: list[object] = []

    def start(database: Database) -> None:
        together.wait(10)
        try:
            prepare(database)
            found.append(database.read(installation))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            found.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for database in databases:
        database.close()
    assert len(found) == 3
    assert len(set(map(str, found))) == 1
    assert isinstance(found[0], str)


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
