"""The installed command against the real server, each test with a home of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, Server, running
from tests.forked_command import Commands

from daypass.client.state import default_session_name

ME = default_session_name()
"""The session name of whoever runs the tests: no variable is set that hides what a user gets."""

DAYPASS = [sys.executable, "-m", "daypass.cli.main"]


@dataclass
class Ran:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Command:
    """Runs `daypass` as somebody who is logged in."""

    server: Server
    home: Path
    processes: ClassVar[Commands]

    @property
    def environment(self) -> dict[str, str]:
        found = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "DAYPASS_"))}
        return {**found, "DAYPASS_HOME": str(self.home)}

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Ran:
        ran = self.processes.run(arguments, {**self.environment, **environment}, stdin)
        assert "Traceback" not in ran.stderr, ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def login(self, key: tuple[str, ...], *more: str) -> Ran:
        given = ["--endpoint", self.server.url, "--access-key-id", key[0], "--secret-stdin"]
        return self("login", *given, *more, stdin=f"{key[1]}\n")


@pytest.fixture(scope="session", autouse=True)
def _processes() -> Iterator[None]:
    with Commands() as Command.processes:
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On SQLite alone: the command cannot tell, and one file is what `audit verify --database` reads."""
    with running(tmp_path_factory.mktemp("daypass")) as started:
        yield started


@pytest.fixture(scope="session")
def logged_in(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who has logged in as the administrator."""
    home = tmp_path_factory.mktemp("admin") / "home"
    assert Command(server, home).login(ADMIN_KEY).status == 0
    return home


@pytest.fixture
def daypass(server: Server, logged_in: Path, tmp_path: Path) -> Command:
    """Logged in as the administrator, with a copy of that home."""
    return Command(server, shutil.copytree(logged_in, tmp_path / "home"))


@pytest.fixture
def role(server: Server) -> str:
    """The name of a role of the operator's account that the administrator may assume, and that may read IAM."""
    name = f"role-{secrets.token_hex(4)}"
    iam = server.client("iam", ROOT_KEYS[OPERATOR])
    iam.create_role(
        RoleName=name,
        Description="For tests",
        AssumeRolePolicyDocument=policy(
            Action=["sts:AssumeRole", "sts:TagSession"], Principal={"AWS": f"arn:aws:iam::{OPERATOR}:user/admin"}
        ),
    )
    team = {"StringEquals": {"aws:PrincipalTag/team": "shop"}}
    allowed = policy(Sid="ReadUsers", Action=["iam:ListUsers"], Resource="*", Condition=team)
    iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=allowed)
    return name


def policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


Policy = Callable[..., str]
