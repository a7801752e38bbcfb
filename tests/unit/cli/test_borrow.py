from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.test_main import IDENTITY
from tests.unit.client.servers import Script, as_json, error, issued, parameters, result

from daypass.cli import output
from daypass.cli.environment import DROPPED, FORMS, QUOTES
from daypass.cli.names import cached_roles
from daypass.client.profiles import Profile, save

NASTY = 'it\'s $(x) `y` "z" \\ \n;&|'


def _login(monkeypatch: pytest.MonkeyPatch, cli: Callable, secret: str = "typed-secret\n", **more: str):
    monkeypatch.setattr("sys.stdin", io.StringIO(secret))
    given = {"--endpoint": "http://127.0.0.1:8700/", "--access-key-id": " AKIAX ", **more}
    return cli("login", "--secret-stdin", *(part for pair in given.items() for part in pair))


def test_login_stores_the_profile_for_its_owner_alone(cli, serve, monkeypatch, tmp_path: Path) -> None:
    serve(IDENTITY)
    ran = _login(monkeypatch, cli)
    path = tmp_path / "home" / "profiles.json"
    assert ran.status == 0, ran.err
    assert "Logged in as arn:aws:iam::1:user/a" in ran.out
    assert "typed-secret" not in ran.out + ran.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stored = json.loads(path.read_text())["profiles"]["default"]
    assert (stored["access_key_id"], stored["secret_access_key"]) == ("AKIAX", "typed-secret")
    assert cli("whoami").out.startswith("arn      arn:aws:iam::1:user/a\n")


def test_login_empty_secret_is_refused(cli, serve, monkeypatch) -> None:
    server = serve(IDENTITY)
    assert _login(monkeypatch, cli, "\n").status == 2
    assert not server.sent


def test_login_over_the_network_in_clear_is_warned_about(cli, serve, monkeypatch) -> None:
    serve(IDENTITY)
    assert "not encrypted" in _login(monkeypatch, cli, **{"--endpoint": "http://daypass.example.com"}).err
    serve(IDENTITY)
    assert _login(monkeypatch, cli).err == ""


def test_login_ca_bundle_is_stored_whole(cli, serve, monkeypatch, tmp_path: Path) -> None:
    serve(IDENTITY)
    (tmp_path / "ca.pem").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert _login(monkeypatch, cli, **{"--ca-bundle": "ca.pem"}).status == 0
    stored = json.loads((tmp_path / "home" / "profiles.json").read_text())["profiles"]["default"]
    assert stored["ca_bundle"] == str((tmp_path / "ca.pem").resolve())


@pytest.mark.usefixtures("key")
def test_roles_root_is_told_that_it_cannot(cli, serve) -> None:
    serve(as_json({"roles": [], "next": ""}), result("GetCallerIdentity", "<Arn>arn:aws:iam::1:root</Arn>"))
    assert cli("roles").out == "The root may not assume roles. Log in as a user.\n"
    serve(as_json({"roles": [], "next": ""}), IDENTITY)
    assert "You may assume no role of your account" in cli("roles").out


@pytest.mark.usefixtures("key")
def test_assume_passes_every_parameter_on(cli, serve, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a": "ü"}', encoding="utf-8")
    server: Script = serve(issued())
    ran = cli(
        "assume", "111122223333/r", "--session-name", "n", "--duration", "900", "--policy", str(tmp_path / "p.json"),
        "--policy-arn", "arn:p", "--tag", "k=v=w", "--tag", "e=", "--transitive", "k", "--external-id", "x",
        "--source-identity", "s",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    sent = parameters(server.sent[0])
    assert sent["Policy"] == '{"a": "ü"}'
    assert (sent["Tags.member.1.Value"], sent["Tags.member.2.Value"]) == ("v=w", "")
    assert (sent["RoleSessionName"], sent["DurationSeconds"], sent["PolicyArns.member.1.arn"]) == ("n", "900", "arn:p")
    assert (sent["TransitiveTagKeys.member.1"], sent["ExternalId"], sent["SourceIdentity"]) == ("k", "x", "s")


@pytest.mark.usefixtures("key")
def test_assume_wrong_input_is_refused_before_anything_is_sent(cli, serve, tmp_path: Path) -> None:
    server = serve(issued())
    (tmp_path / "p.json").write_bytes(b"\xff\xfe")
    assert cli("assume", "1/r", "--tag", "novalue").status == 2
    assert cli("assume", "1/r", "--policy", str(tmp_path / "absent")).status == 2
    assert cli("assume", "1/r", "--policy", str(tmp_path / "p.json")).status == 6
    assert not server.sent


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("shell", "forget", "assign"),
    [
        ("sh", "unset AWS_PROFILE", "export AWS_ACCESS_KEY_ID=ASIA"),
        ("fish", "set -e AWS_PROFILE", "set -gx AWS_ACCESS_KEY_ID 'ASIA"),
        ("powershell", "Remove-Item Env:AWS_PROFILE", "$env:AWS_ACCESS_KEY_ID = 'ASIA"),
    ],
)
def test_assume_speaks_the_shells_language(cli, serve, monkeypatch, shell: str, forget: str, assign: str) -> None:
    serve(issued())
    monkeypatch.setenv("AWS_PROFILE", "other")
    lines = cli("assume", "111122223333/r", "--shell", shell).out.splitlines()
    assert lines[0] == forget
    assert lines[1].startswith(assign)
    assert any("AWS_ENDPOINT_URL" in line and "http://127.0.0.1:8700" in line for line in lines)


@pytest.mark.parametrize(("name", "forget"), [("fish", "set -e "), ("pwsh", "Remove-Item "), ("zsh", "unset ")])
def test_assume_without_a_shell_named_speaks_the_language_of_its_caller(tmp_path: Path, name: str, forget: str) -> None:
    caller = tmp_path / name
    caller.symlink_to("/bin/sh")
    environment = {**os.environ, "SHELL": "/bin/bash", "AWS_PROFILE": "other", "AWS_ACCESS_KEY_ID": "AKIA"}
    script = f"{sys.executable} -m daypass.cli.main assume --unset; true"  # a last command would replace the shell
    ran = subprocess.run(
        [str(caller), "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    lines = ran.stdout.splitlines()
    assert lines
    assert all(line.startswith(forget) for line in lines), ran.stdout


def test_quoting_sh_gives_back_the_value() -> None:
    line = FORMS["sh"].format(name="X", value=QUOTES["sh"](NASTY))
    script = f'{line}\nprintf %s "$X"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == NASTY


def test_quoting_fish_escapes_what_fish_reads_in_single_quotes() -> None:
    assert QUOTES["fish"]("a'b\\c$d") == r"'a\'b\\c$d'"


def powershell_value(line: str) -> str:
    """The value of an assignment, by PowerShell's grammar: a single-quoted string ends at the first of five quote characters
    that is not doubled. Raises AssertionError for anything after it. (No PowerShell for tests can be installed here.)
    """
    assigned = re.fullmatch(r"\$env:[A-Z_]+ = '(.*)", line, re.DOTALL)
    assert assigned
    rest, value, quotes = assigned[1], "", "'\u2018\u2019\u201a\u201b"
    while rest[0] not in quotes or (len(rest) > 1 and rest[1] in quotes):
        value, rest = value + rest[0], rest[2 if rest[0] in quotes else 1 :]
    assert len(rest) == 1
    return value


@pytest.mark.parametrize("value", [NASTY, "a'b$c`d", "it\u2019s", "\u2018; Remove-Item x; \u201b", "'", "''", ""])
def test_quoting_powershell_gives_back_the_value(value: str) -> None:
    assert powershell_value(FORMS["powershell"].format(name="X", value=QUOTES["powershell"](value))) == value


@pytest.mark.usefixtures("key")
def test_credential_process_prints_one_json_object_and_caches_it(cli, serve) -> None:
    server = serve(issued())
    first, second = cli("credential-process", "111122223333/r"), cli("credential-process", "111122223333/r")
    assert json.loads(first.out) == {
        "Version": 1,
        "AccessKeyId": "ASIA0000000000000001",
        "SecretAccessKey": "issued-secret-1",
        "SessionToken": "token-1",
        "Expiration": "2027-01-15T09:00:00Z",
    }
    assert (first.out, first.err) == (second.out, second.err)
    assert len(server.sent) == 1
    cli("credential-process", "111122223333/r", "--fresh")
    assert len(server.sent) == 2


@pytest.mark.usefixtures("key")
def test_credential_process_failing_prints_nothing_on_stdout(cli, serve) -> None:
    serve(error("AccessDenied", "no", 403))
    ran = cli("credential-process", "111122223333/r")
    assert (ran.status, ran.out) == (4, "")


@pytest.mark.usefixtures("key")
def test_exec_gives_the_command_the_roles_credentials_and_no_others(cli, serve, monkeypatch) -> None:
    ran: dict[str, object] = {}
    monkeypatch.setattr("os.execvpe", lambda *given: ran.update(zip(("file", "argv", "env"), given, strict=True)))
    save("work", Profile("http://127.0.0.1:8700", "AKIAX", "stored-secret"))
    for name in (*DROPPED, "AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "parent's")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://storage")
    serve(issued())
    cli("exec", "--profile", "work", "--duration", "900", "111122223333/r", "--", "aws", "--profile", "x", "--", "-h")
    assert ran["argv"] == ["aws", "--profile", "x", "--", "-h"]
    environment = ran["env"]
    assert isinstance(environment, dict)
    assert "parent's" not in environment.values()
    assert not {"top-secret", "stored-secret"} & set(environment.values())
    assert environment["AWS_SECRET_ACCESS_KEY"] == "issued-secret-1"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8700"
    assert environment["AWS_ENDPOINT_URL_S3"] == "http://storage"


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("arguments", [["r"], ["r", "--"], ["--profile", "p", "r"], ["--", "aws"], []])
def test_exec_without_role_or_command_is_refused(cli, serve, arguments: list[str]) -> None:
    save("p", Profile("http://127.0.0.1:8700", "AKIAX", "stored-secret"))
    server = serve(issued())
    assert cli("exec", *arguments).status == 2
    assert not server.sent


@pytest.mark.usefixtures("key")
def test_exec_command_absent_or_not_runnable_has_the_shells_status(cli, serve, tmp_path: Path) -> None:
    serve(issued())
    (tmp_path / "file").write_text("")
    assert cli("exec", "111122223333/r", "--", str(tmp_path / "absent")).status == 127
    assert cli("exec", "111122223333/r", "--", str(tmp_path / "file")).status == 126


# --- exec: which words are ours

R = "111122223333/r"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """The arguments and environment with which exec replaces itself."""
    kept: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execvpe", lambda _file, argv, env: kept.append((argv, dict(env))))
    return kept


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([R, "aws", "--profile", "x"], ["aws", "--profile", "x"]),
        ([R, "--", "aws", "-h"], ["aws", "-h"]),
        ([R, "git", "log", "--", "file"], ["git", "log", "--", "file"]),
        (["--duration", "900", R, "env"], ["env"]),
        ([R, "--duration=900", "--tag", "a=b", "env", "--duration"], ["env", "--duration"]),
        ([R, "--fresh", "--", "--help"], ["--help"]),
        (["--fresh", R, "a", "b"], ["a", "b"]),
    ],
)
def test_exec_takes_its_own_options_before_the_command_alone(cli, serve, ran, arguments, command) -> None:
    server = serve(issued())
    status = cli("exec", *arguments)
    assert status.err == ""
    assert ran[0][0] == command
    assert parameters(server.sent[0])["RoleArn"] == "arn:aws:iam::111122223333:role/r"


@pytest.mark.usefixtures("key")
def test_exec_sets_everything_that_each_sdk_reads(cli, serve, ran, monkeypatch) -> None:
    serve(issued())
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    monkeypatch.setenv("AWS_CA_BUNDLE", "/ca.pem")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    cli("exec", R, "env")
    found = ran[0][1]
    assert {found[n] for n in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM")} == {
        "http://127.0.0.1:8700"
    }
    assert (found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")
    assert (found["AWS_CA_BUNDLE"], found["NODE_EXTRA_CA_CERTS"]) == ("/ca.pem", "/ca.pem")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("shell", "marks"), [("/bin/bash", "--rcfile"), ("/usr/bin/zsh", "-i"), ("/usr/bin/fish", "-C"), ("/bin/sh", "-i")]
)
def test_exec_without_a_command_on_a_terminal_is_a_marked_shell(cli, serve, ran, monkeypatch, shell, marks) -> None:
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setenv("SHELL", shell)
    serve(issued())
    said = cli("exec", R)
    assert f"this shell has role {R} until 2027-01-15T09:00:00Z" in said.err
    argv, environment = ran[0]
    assert argv[0] == shell
    assert marks in argv
    assert "(daypass:111122223333/r) " in environment.get("DAYPASS_PROMPT", "") + environment.get("PS1", "")
    assert environment["DAYPASS_ROLE"] == R


@pytest.mark.usefixtures("key")
def test_exec_without_a_role_on_a_terminal_offers_those_that_may_be_assumed(cli, serve, ran, monkeypatch) -> None:
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setattr("sys.stdin", io.StringIO("dep\n"))
    arns = [f"arn:aws:iam::111122223333:role/{name}" for name in ("reader", "deployer")]
    roles = as_json({"roles": [{"arn": arn, "max_session_seconds": 3600} for arn in arns], "next": ""})
    server = serve(roles, issued())
    said = cli("exec")
    assert "  1  arn:aws:iam::111122223333:role/reader" in said.err
    assert parameters(server.sent[-1])["RoleArn"] == arns[1]
    assert cached_roles() == ["deployer", "reader"]


@pytest.mark.usefixtures("key")
def test_assume_unset_takes_back_all_that_assume_sets(cli, serve) -> None:
    serve(issued())
    set_ = {line.split("=")[0].removeprefix("export ") for line in cli("assume", R).out.splitlines()}
    unset = {line.removeprefix("unset ") for line in cli("assume", "--unset").out.splitlines()}
    assert set_ <= unset
    script = 'eval "$1"; eval "$2"; env | grep -c ^AWS_ || true'
    given = [cli("assume", R).out, cli("assume", "--unset").out]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *given], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


# --- MFA


@pytest.mark.usefixtures("key")
def test_assume_with_mfa_sends_device_and_code(cli, serve) -> None:
    server = serve(issued())
    assert cli("assume", R, "--mfa-serial", "arn:mfa", "--mfa-code", "123456").status == 0
    sent = parameters(server.sent[0])
    assert (sent["SerialNumber"], sent["TokenCode"]) == ("arn:mfa", "123456")
    assert cli("assume", R, "--mfa-code", "123456").status == 2


def test_credential_process_with_mfa_of_the_profile_serves_what_exec_has_cached(cli, serve, ran) -> None:
    save("default", Profile("http://127.0.0.1:8700", "AKIAX", "stored-secret", mfa_serial="arn:mfa"))
    server = serve(issued())
    cli("exec", R, "--mfa-code", "123456", "env")
    assert parameters(server.sent[0])["TokenCode"] == "123456"
    assert json.loads(cli("credential-process", R).out)["AccessKeyId"] == "ASIA0000000000000001"
    assert len(server.sent) == 1


def test_credential_process_with_mfa_and_no_terminal_says_what_to_do(tmp_path: Path) -> None:
    profile = {
        "endpoint": "http://127.0.0.1:1",
        "access_key_id": "AKIAX",
        "secret_access_key": "s",
        "mfa_serial": "arn:mfa",
    }
    (tmp_path / "profiles.json").write_text(json.dumps({"profiles": {"default": profile}}))
    done = subprocess.run(
        [sys.executable, "-m", "daypass.cli.main", "credential-process", R], env={"DAYPASS_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert "there is no terminal to ask on. Give --mfa-code" in done.stderr
