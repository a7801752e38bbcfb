"""Replicas are upgraded and rolled back one after the other, between two formats of the database, under load.

Nothing was released yet, so the later release is made here: this program with one more column of roles, which it fills, and
the expanding revision of `tests/contract/example_migrations` that adds the column.
"""

from __future__ import annotations

import base64
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.e2e.conftest import OPERATOR, Server, running, session_key
from tests.e2e.load import loading
from tests.e2e.test_hanging_database import issued
from tests.e2e.test_running import cli, code_of, make_role, within
from tests.packaging.machine import ROOT
from tests.postgres import PostgresServer

from daypass.stores.engine import open_database
from daypass.stores.migrations import database_format, program_format

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the program of the later release."""
    folder = tmp_path_factory.mktemp("later")
    shutil.copytree(ROOT / "src/daypass", folder / "daypass", ignore=shutil.ignore_patterns("__pycache__"))
    versions = folder / "daypass/stores/migrations/versions"
    _edit(versions / "initial.py", 'revision = f"1.{_digest()}"', f'revision = "{program_format()}"')
    limits = "limit of chained sessions\n    boundary_arn: str | None = None\n"  # of a role
    _edit(
        folder / "daypass/domain/directory/identities.py",
        f"{limits}    tags: Tags = ()\n",
        f'{limits}    tags: Tags = ()\n    purpose: str | None = "later"\n',
    )
    expand = (ROOT / "tests/contract/example_migrations/expand/r0002.py").read_text()
    (versions / "r0002.py").write_text(expand)
    _edit(versions / "r0002.py", '"nodes", sa.Column("host"', '"roles", sa.Column("purpose"')
    return folder


def _edit(path: Path, before: str, after: str) -> None:
    content = path.read_text()
    assert content.count(before) == 1, path
    path.write_text(content.replace(before, after))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """The URL of an empty database, and the data directories of two replicas: one for both with SQLite, on one machine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/daypass.db", (tmp_path / "data", tmp_path / "data")
        return
    databases: PostgresServer = request.getfixturevalue("postgres_server")
    name = databases.create_database()
    yield databases.url(name), (tmp_path / "one", tmp_path / "two")
    databases.drop_database(name)


class Replica:
    """One of two servers on a database, as an orchestrator keeps it."""

    def __init__(self, url: str, data: Path, key: str) -> None:
        self._data, self._settings = data, {"DAYPASS_DATABASE__URL": url, "DAYPASS_KEYS__ENCRYPTION_KEY": key}
        self._running = ExitStack()

    def start(self, program: Path | None = None) -> Server:
        path = {"PYTHONPATH": str(program)} if program else {}
        return self._running.enter_context(running(self._data, environment={**self._settings, **path}))

    def stop(self) -> None:
        self._running.close()


def purposes(url: str) -> dict[str, str | None]:
    """The new column, by the name of the role."""
    with closing(open_database(url)) as database:
        rows = database.read(lambda conn: conn.execute(text("SELECT name, purpose FROM roles")).all())
    return {row.name: row.purpose for row in rows}


def test_upgrade_and_rollback_under_load_fail_no_request_and_lose_no_record(
    place: tuple[str, tuple[Path, Path]], later: Path
) -> None:
    url, folders = place
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    replicas = [Replica(url, folder, key) for folder in folders]
    with replicas[0]._running, replicas[1]._running:
        servers = [replica.start() for replica in replicas]
        role = make_role(servers[0])
        early = session_key(servers[0].client("sts").assume_role(RoleArn=role, RoleSessionName="early"))
        with loading(role, servers, 2, 0.05) as load:
            load.wait_for(20)
            states = []
            # Up, replica by replica, and down again in the same order: each pair of programs serves side by side.
            for number, program in ((0, later), (1, later), (0, None), (1, None)):
                load.use(servers[1 - number])
                replicas[number].stop()
                assert servers[number].process.returncode == 0
                servers[number] = replicas[number].start(program)
                load.use(*servers)
                load.wait_for(20)
                states.append(_by_one_and_used_at_the_other(servers, f"step-{len(states)}"))
        assert load.failed == []
        assert states == [True] * 4
        revoked = {"subject": "access_key", "value": early[0]}
        assert servers[1].client("sts", early).get_caller_identity()["Account"] == OPERATOR
        servers[1].api("POST", "/revocations", body=revoked)
        within(5, lambda: code_of(servers[0].client("sts", early).get_caller_identity) == "ExpiredToken")
    recorded = issued(url)
    assert Counter(load.issued) - recorded == Counter()
    assert max(recorded.values()) == 1
    with closing(open_database(url)) as database:
        assert database.read(database_format) == "2.expand"
    verified = cli("audit", "verify", *(("--url", url) if "postgres" in url else ("--data", str(folders[0]))))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert set(purposes(url).items()) >= {
        ("ops", None),
        ("step-1-0", "later"),
        ("step-1-1", "later"),
        ("step-3-0", None),
    }


def _by_one_and_used_at_the_other(servers: list[Server], name: str) -> bool:
    """A role that each replica makes is assumed at the other one at once, and deleted roles are gone there."""
    for number, (here, there) in enumerate((servers, servers[::-1])):
        role = make_role(here, f"{name}-{number}")
        session = session_key(there.client("sts").assume_role(RoleArn=role, RoleSessionName="cross"))
        assert here.client("sts", session).get_caller_identity()["Account"] == OPERATOR
    return True
