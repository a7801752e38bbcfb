"""Logging in and borrowing, as people and their tools do it."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.e2e.cli.conftest import DAYPASS, ME, Command, policy
from tests.e2e.conftest import OPERATOR, ROOT_KEYS, TENANT, Server, running

PROBE = "import boto3, json; print(json.dumps(boto3.client('sts').get_caller_identity()['Arn']))"
PYTHON = shlex.quote(sys.executable)


def _arn(role: str, name: str = ME) -> str:
    return f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/{name}"


def test_login_wrong_secret_is_refused_and_stores_nothing(server: Server, tmp_path: Path) -> None:
    command = Command(server, tmp_path / "home")
    ran = command.login((ROOT_KEYS[OPERATOR][0], "wrong"))
    assert (ran.status, ran.out) == (3, "")
    assert "SignatureDoesNotMatch" in ran.err
    assert not (tmp_path / "home").exists()


def test_whoami_shows_the_profiles_identity(daypass: Command) -> None:
    assert daypass.login(ROOT_KEYS[TENANT], "--profile", "tenant").status == 0
    assert daypass("whoami", "--output", "json").json()["Arn"] == f"arn:aws:iam::{OPERATOR}:user/admin"
    assert f"arn:aws:iam::{TENANT}:root" in daypass("whoami", "--profile", "tenant").out
    assert f"arn:aws:iam::{TENANT}:root" in daypass("whoami", DAYPASS_PROFILE="tenant").out


def test_whoami_without_a_profile_uses_the_aws_environment(server: Server, tmp_path: Path) -> None:
    command = Command(server, tmp_path)
    given = server.environment(ROOT_KEYS[TENANT])
    assert f"{TENANT}:root" in command("whoami", **{n: v for n, v in given.items() if n.startswith("AWS_")}).out


def test_whoami_server_gone_has_its_status(daypass: Command) -> None:
    ran = daypass("whoami", "--endpoint", "http://127.0.0.1:1")
    assert (ran.status, ran.out) == (5, "")
    assert "does not answer" in ran.err


def test_roles_lists_what_may_be_assumed(daypass: Command, role: str) -> None:
    assert f"role/{role} " in daypass("roles").out
    assert f"arn:aws:iam::{OPERATOR}:role/{role}" in [
        found["arn"] for found in daypass("roles", "--output", "json").json()
    ]
    assert daypass.login(ROOT_KEYS[OPERATOR]).status == 0
    assert "The root may not assume roles" in daypass("roles").out


@pytest.mark.parametrize("form", ["{role}", f"{OPERATOR}/{{role}}", f"arn:aws:iam::{OPERATOR}:role/{{role}}"])
def test_assume_evaluated_by_a_shell_gives_the_role(daypass: Command, role: str, form: str) -> None:
    line = shlex.join([*DAYPASS, "assume", form.format(role=role), "--session-name", "o'neil".replace("'", "")])
    script = f'eval "$({line})"; {PYTHON} -c {shlex.quote(PROBE)}'
    environment = {**daypass.environment, "AWS_PROFILE": "no-such-profile"}
    ran = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == _arn(role, "oneil")


def test_assume_absent_role_is_denied_and_explained(daypass: Command) -> None:
    ran = daypass("assume", "nonesuch")
    assert (ran.status, ran.out) == (4, "")
    assert "not authorized to perform: sts:AssumeRole" in ran.err
    explained = daypass("explain", "-", stdin=ran.err)
    assert explained.out.startswith("Denied: no trust policy allows it.\n")


def test_exec_runs_the_command_as_the_role_alone(daypass: Command, role: str) -> None:
    code = f"import os\n{PROBE}\nprint(json.dumps([n for n in os.environ if n.startswith(('AWS_', 'DAYPASS_'))]))"
    ran = daypass(
        "exec", role, "--", sys.executable, "-c", code, AWS_PROFILE="leaked", AWS_ENDPOINT_URL_STS="http://127.0.0.1:1"
    )
    assert ran.err == ""
    arn, names = map(json.loads, ran.out.splitlines())
    assert arn == _arn(role)
    assert "AWS_PROFILE" not in names
    assert "AWS_ENDPOINT_URL_STS" in names
    assert "AWS_SESSION_TOKEN" in names


def test_exec_within_exec_acts_as_the_role(daypass: Command, role: str) -> None:
    ran = daypass("exec", role, "--", *DAYPASS, "whoami", DAYPASS_PROFILE="default")
    assert _arn(role) in ran.out


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exec_passes_the_exit_status_on(daypass: Command, role: str, status: int) -> None:
    assert daypass("exec", role, "--", "sh", "-c", f"exit {status}").status == status


def test_exec_is_the_command_so_signals_reach_it(daypass: Command, role: str) -> None:
    process = subprocess.Popen(
        [*DAYPASS, "exec", role, "--", "sh", "-c", 'trap "exit 42" TERM; echo ready; while :; do sleep 0.05; done'],
        env=daypass.environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 42
    assert daypass("exec", role, "--", "sh", "-c", "kill -KILL $$").status == -signal.SIGKILL


def test_exec_passes_tags_and_a_session_policy_on(daypass: Command, role: str, server: Server, tmp_path: Path) -> None:
    code = (
        "import boto3\ntry: print(len(boto3.client('iam').list_users()['Users']) > 0)\nexcept Exception as e: print(e)"
    )
    tagged = ["--tag", "team=shop"]
    allowed = daypass("exec", role, *tagged, "--", sys.executable, "-c", code)
    assert (allowed.out, allowed.err) == ("True\n", "")
    (tmp_path / "p.json").write_text(policy(Action="iam:GetUser", Resource="*"))
    narrowed = daypass("exec", role, *tagged, "--policy", str(tmp_path / "p.json"), "--", sys.executable, "-c", code)
    assert "no session policy allows the iam:ListUsers action" in narrowed.out


def test_credential_process_feeds_boto3_through_its_configuration(
    daypass: Command, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = shlex.join([*DAYPASS, "credential-process", role])
    (tmp_path / "config").write_text(
        f"[profile work]\ncredential_process = {command}\nendpoint_url = {daypass.server.url}\nregion = us-east-1\n"
    )
    for name, value in {"AWS_CONFIG_FILE": str(tmp_path / "config"), "DAYPASS_HOME": str(daypass.home)}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "DAYPASS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert boto3.Session(profile_name="work").client("sts").get_caller_identity()["Arn"] == _arn(role)
    first, second = daypass("credential-process", role), daypass("credential-process", role)
    assert first.out == second.out
    assert daypass("credential-process", role, "--fresh").json()["AccessKeyId"] != first.json()["AccessKeyId"]


@pytest.mark.slow
def test_a92_credential_process_server_stopped_serves_the_cache(tmp_path: Path, role: str, server: Server) -> None:
    with running(tmp_path / "data") as mortal:
        iam = mortal.client("iam", ROOT_KEYS[OPERATOR])
        trust = policy(Action="sts:AssumeRole", Principal={"AWS": f"arn:aws:iam::{OPERATOR}:user/admin"})
        iam.create_role(RoleName="worker", AssumeRolePolicyDocument=trust)
        command = Command(mortal, tmp_path / "home")
        command.login(("AKIAADMINOFOPERATOR0", "admin-secret-admin-secret-admin-secret-a"))
        before = command("credential-process", "worker")
        assert before.status == 0, before.err
    assert command("credential-process", "worker").out == before.out
    assert command("exec", "worker", "--", "true").status == 0
    assert command("credential-process", "other").status == 5


def test_revoke_session_ends_it_everywhere(daypass: Command, role: str) -> None:
    issued = daypass("assume", role, "--output", "json").json()
    key = (issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"])
    sts = daypass.server.client("sts", key)
    assert sts.get_caller_identity()["Arn"] == _arn(role)
    listed = daypass("sessions", "ls", "--output", "json").json()
    session = next(s["session_id"] for s in listed if s["access_key_id"] == key[0])
    assert session in daypass("sessions", "ls").out
    shown = daypass("sessions", "show", session)
    assert "Chain of custody:" in shown.out
    assert "0. admin" in shown.out
    revoked = daypass("revoke", "session", session, "--reason", "left open")
    assert revoked.out.startswith(f"Revoked session {session}; revocation ")
    with pytest.raises(ClientError, match="ExpiredToken"):
        sts.get_caller_identity()
    revocations = daypass("revocations", "ls", "--output", "json", "--limit", "1000").json()
    assert next(r["reason"] for r in revocations if r["value"] == session) == "left open"
    assert session in daypass("revocations", "ls", "--limit", "1000").out
    ended = daypass("sessions", "show", session, "--output", "json").json()
    assert ended["state"] == "revoked"
    who = Command(daypass.server, daypass.home)("whoami", **_aws(daypass.server.url, key))
    assert who.status == 3


def _aws(url: str, key: tuple[str, str, str]) -> dict[str, str]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    return {"AWS_ENDPOINT_URL": url, **dict(zip(names, key, strict=True))}
