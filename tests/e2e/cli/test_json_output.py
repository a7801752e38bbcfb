"""`--output json` of every command, against a real server."""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Any

import pyotp
import pytest
from tests.e2e.cli import json_steps
from tests.e2e.cli.conftest import policy
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, Server, running, session_key
from tests.issuer import Issuer
from tests.unit.cli.parser import WITHOUT_JSON, every_command
from tests.x509 import Authority

from daypass.cli.main import run

Cli = Callable[..., tuple[int, str, str]]
_THESE_YEARS = range(1_600_000_000_000, 4_000_000_000_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own: the commands rotate its keys and reset its clock."""
    with running(tmp_path / "data", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as started:
        yield started


@pytest.fixture
def cli(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process, logged in as the root and as the administrator."""
    monkeypatch.setenv("DAYPASS_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(list(arguments))
        return status, *capfd.readouterr()

    for name, key in (("root", ROOT_KEYS[OPERATOR]), ("admin", ADMIN_KEY)):
        given = ("--endpoint", server.url, "--access-key-id", key[0], "--secret-access-key", key[1])
        assert call("login", "--profile", name, *given)[0] == 0
    return call


@pytest.fixture
def known(server: Server, tmp_path: Path) -> dict[str, str]:
    """Files and values of the command lines."""
    tag, github = secrets.token_hex(3), Issuer("token.actions.githubusercontent.com")
    token = github.token(time.time_ns() // 1_000_000, sub="repo:acme/other:ref:refs/heads/main")
    principals = {"AWS": [f"arn:aws:iam::{OPERATOR}:user/admin", f"arn:aws:iam::{OPERATOR}:root"]}
    rule = {
        "roles": [f"role/r-{tag}"],
        "requesters": {"principals": [f"user/ann-{tag}", "user/admin"]},
        "stages": [{"name": "lead", "approvers": {"principals": ["user/admin"]}}],
        "on_behalf": True,
        "break_glass": {"people": {"principals": [f"user/ann-{tag}"]}, "seconds": 900},
    }
    files = {
        "allow.json": policy(Action="iam:ListUsers", Resource="*"),
        "other.json": policy(Action=["iam:ListUsers", "iam:ListRoles"], Resource="*"),
        "assume.json": policy(Action=["sts:*", "daypass:*"], Resource="*"),
        "trust.json": policy(Action=["sts:AssumeRole", "sts:TagSession"], Principal=principals),
        "ca.pem": Authority.make().pem,
        "token": token,
        f"rules/r-{tag}.json": json.dumps(rule),
    }
    (tmp_path / "rules").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    server.client("iam").enable_outbound_web_identity_federation()
    found = {"tag": tag, "dir": str(tmp_path), "data": str(server.data), "url": server.url, "account": OPERATOR}
    return {**found, "role": f"arn:aws:iam::{OPERATOR}:role/r-{tag}"}


def steps(cli: Cli, known: dict[str, str], lines: str) -> set[str]:
    """Runs command lines; the commands that they ran. Each prints one JSON document, and nothing else."""
    names, ran = dict(every_command()), set()
    for line in lines.strip().splitlines():
        command, _, kept = Template(line).substitute(known).partition(" -> ")
        profile, status, *words = shlex.split(command)
        name = next(name for size in (3, 2, 1) if (name := " ".join(words[:size])) in names)
        whose = ["--profile", profile] if takes(names[name], "--profile") and "--profile" not in words else []
        result, out, err = cli(*words, *whose, "--output", "json")
        assert (result, "Traceback" in err) == (int(status), False), f"{command}: {err}"
        document = json.loads(out)
        assert not list(wrong_times(document)), command
        for pair in kept.split():
            member, _, path = pair.partition("=")
            known[member] = at(document, path)
        ran.add(name)
    return ran


def takes(command: Any, option: str) -> bool:
    return any(option in parameter.opts for parameter in command.params)


def at(document: Any, path: str) -> str:
    for name in path.split("."):
        document = document[int(name)] if name.isdigit() else document[name]
    return str(document)


def wrong_times(value: Any, name: str = "") -> Iterator[str]:
    """Members that are milliseconds of these years, so not times in ISO 8601."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key != "event":  # a record is printed as it was written
                yield from wrong_times(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from wrong_times(member, name)
    elif type(value) is int and value in _THESE_YEARS:
        yield name


def log_in_with_mfa(server: Server, cli: Cli, known: dict[str, str]) -> None:
    """Gives ann a virtual device, and makes the profile `mfa` of a session that she gets with it."""
    iam, user = server.client("iam"), f"ann-{known['tag']}"
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=user)["VirtualMFADevice"]
    device, now = pyotp.TOTP(made["Base32StringSeed"].decode()), int(time.time())
    codes = {f"AuthenticationCode{n}": device.at(now + 30 * (n - 3)) for n in (1, 2)}
    iam.enable_mfa_device(UserName=user, SerialNumber=made["SerialNumber"], **codes)
    sts = server.client("sts", (known["key"], known["secret"]))
    key = session_key(sts.get_session_token(SerialNumber=made["SerialNumber"], TokenCode=device.at(now)))
    given = ("--access-key-id", key[0], "--secret-access-key", key[1], "--session-token", key[2])
    assert cli("login", "--profile", "mfa", "--endpoint", server.url, *given)[0] == 0


@pytest.mark.slow
def test_output_json_of_every_command_is_one_document_with_times_in_iso_8601(
    server: Server, cli: Cli, known: dict[str, str]
) -> None:
    ran = steps(cli, known, json_steps.PROFILES) | steps(cli, known, json_steps.IDENTITIES)
    log_in_with_mfa(server, cli, known)
    for group in (json_steps.ACCESS, json_steps.FEDERATION):
        ran |= steps(cli, known, group)
    denied = cli("assume", "nonesuch", "--profile", "admin", "--output", "json")
    assert (denied[0], denied[1]) == (4, ""), "a failure prints nothing on standard output"
    known["denied"] = denied[2].split("daypass explain ")[1].split()[0]
    for name in json_steps.STREAMED:
        status, out, _ = cli(*name.split(), "--profile", "root", "--output", "json")
        records = [json.loads(line) for line in out.splitlines()]
        assert status == 0
        assert records
        known["log"] = records[0]["log"]
    for group in (json_steps.OPERATION, json_steps.AWAY, json_steps.OFFLINE):
        ran |= steps(cli, known, group)
    elsewhere = {*WITHOUT_JSON, *json_steps.SCRIPTED, *json_steps.STREAMED, "gameday run"}  # see test_gameday
    expected = {name for name, _ in every_command()} - elsewhere
    assert ran == expected
