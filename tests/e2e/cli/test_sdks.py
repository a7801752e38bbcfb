"""Exports of Daypass in every SDK on this machine: a profile of the AWS configuration, and variables.

Each client is stock, and its code names no region, endpoint or key. The environment has nothing of AWS but what is exported:
what a developer's machine has set would hide what a user sees.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.e2e.cli import sdks
from tests.e2e.cli.conftest import DAYPASS, ME, Command
from tests.e2e.conftest import OPERATOR

from daypass.client.state import default_session_name

pytestmark = pytest.mark.slow


def _seen(client: str, environment: Mapping[str, str], home: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "NODE_EXTRA_CA_CERTS")}
    ran = subprocess.run(
        sdks.command(client), env={**clean, "HOME": str(home), **environment}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    arn: str = json.loads(ran.stdout)["arn"]
    return arn


CLIENTS = pytest.mark.parametrize(
    "client", [*sdks.CLIENTS[:-1], pytest.param(sdks.CLIENTS[-1], marks=pytest.mark.slow)]
)


@CLIENTS
def test_exported_profile_works_with_its_name_alone(daypass: Command, role: str, tmp_path: Path, client: str) -> None:
    config = tmp_path / ".aws/config"
    ran = daypass("profile", "export", "--role", role, "--write", AWS_CONFIG_FILE=str(config), PATH="/nonexistent")
    assert ran.status == 0, ran.err
    arn = _seen(client, {"AWS_PROFILE": role, "DAYPASS_HOME": str(daypass.home)}, tmp_path)
    assert arn == f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/{default_session_name({})}"


@CLIENTS
def test_variables_of_assume_work_alone(daypass: Command, role: str, tmp_path: Path, client: str) -> None:
    lines = daypass("assume", role).out.splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert _seen(client, exported, tmp_path) == f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/{ME}"


def test_login_writes_an_aws_profile_of_the_key_itself(daypass: Command, tmp_path: Path) -> None:
    config = tmp_path / ".aws/config"
    given = ("--access-key-id", "AKIAADMINOFOPERATOR0", "--secret-stdin", "--aws-profile", "me")
    ran = daypass(
        "login", "--endpoint", daypass.server.url, *given, stdin="admin-secret-admin-secret-admin-secret-a\n",
        AWS_CONFIG_FILE=str(config),
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert "secret" not in config.read_text()
    arn = _seen("boto3", {"AWS_PROFILE": "me", "DAYPASS_HOME": str(daypass.home)}, tmp_path)
    assert arn == f"arn:aws:iam::{OPERATOR}:user/admin"


def test_credential_process_is_found_where_daypass_is_not_on_the_path(daypass: Command) -> None:
    shown = daypass("profile", "export", PATH="/nonexistent").out
    line = next(line for line in shown.splitlines() if line.startswith("credential_process"))
    assert sys.executable in line or line.split()[2].startswith("/")
    assert DAYPASS[0]
