"""Profiles, what is cached, and the AWS configuration made of them."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.test_main import IDENTITY
from tests.unit.client.servers import NOW, Script, as_json, error, issued, parameters, result

from daypass.cli import aws_config, login, output
from daypass.cli.main import run
from daypass.client.profiles import Profile, load_all, save
from daypass.client.transport import LoginServer

URL = "http://127.0.0.1:8700"
R = "111122223333/r"


@pytest.fixture
def two() -> None:
    save("default", Profile(URL, "AKIAONE", "secret-one"))
    save("work", Profile(URL, "ASIATWO", "secret-two", "token", expiration="2026-01-01T00:00:00Z"))


@pytest.mark.usefixtures("two")
def test_profile_ls_marks_the_one_in_use_and_shows_no_secret(cli: Any) -> None:
    shown = cli("profile", "ls").out
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [["*", "default"], ["work", URL]]
    assert shown.splitlines()[2].endswith("expired")
    assert "secret-" not in shown + cli("profile", "ls", "--output", "json").out


def test_status_without_profiles_says_how_to_store_one(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("status").out == "No profile is stored. To store one: daypass login\n"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAX")
    monkeypatch.setenv("AWS_ENDPOINT_URL", URL)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
    first, *_, last = cli("status").out.splitlines()
    assert first.startswith(f"In use: key ASIAX at {URL}, from the AWS_… variables (time left: expired).")
    assert last.startswith("No profile is stored.")


@pytest.mark.usefixtures("two")
def test_status_with_profiles_says_that_no_server_was_asked(cli: Any) -> None:
    last = "These are local files. No server was asked whether a key or session is still valid."
    assert cli("status").out.splitlines()[-2:] == ["", last]


@pytest.mark.usefixtures("two")
def test_profile_export_takes_the_profile_as_an_argument_or_as_an_option(cli: Any) -> None:
    assert cli("profile", "export", "--profile", "work").out == cli("profile", "export", "work").out
    ran = cli("profile", "export", "work", "--profile", "default")
    assert (ran.status, ran.out) == (2, "")


@pytest.mark.usefixtures("two")
def test_profile_use_changes_what_commands_use_and_refuses_names_that_are_not_there(cli: Any, serve: Any) -> None:
    assert cli("profile", "use", "work").status == 0
    server: Script = serve(IDENTITY)
    cli("whoami")
    assert "ASIATWO" in str(server.sent[0].headers)
    ran = cli("profile", "use", "wrok")
    assert (ran.status, ran.err) == (6, "daypass: Profile 'wrok' does not exist. Did you mean 'work'?\n")


@pytest.mark.usefixtures("two")
def test_profile_use_that_the_environment_overrides_says_so(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYPASS_PROFILE", "default")
    assert "takes precedence over it" in cli("profile", "use", "work").err


@pytest.mark.usefixtures("two")
def test_logout_removes_the_profile_and_the_sessions_that_its_key_made(cli: Any, serve: Any) -> None:
    serve(issued(1), issued(2))
    cli("credential-process", R)
    cli("credential-process", R, "--profile", "work")
    cache = Path(os.environ["DAYPASS_HOME"]) / "cache"
    assert len(list(cache.glob("*.json"))) == 2
    assert cli("logout").out == "Removed profile 'default' and 1 cached session.\n"
    assert list(load_all()) == ["work"]
    assert len(list(cache.glob("*.json"))) == 1
    assert cli("logout").status == 6
    assert cli("logout", "--all").status == 0
    assert load_all() == {}


@pytest.mark.usefixtures("two")
def test_profile_rm_without_a_name_asks_on_a_terminal_alone(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("profile", "rm").status == 2
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setattr("sys.stdin", __import__("io").StringIO("2\ny\n"))
    assert cli("profile", "rm").status == 0
    assert list(load_all()) == ["default"]


@pytest.mark.usefixtures("two")
def test_status_shows_profiles_and_cached_sessions_and_asks_nobody(cli: Any, serve: Any) -> None:
    serve(issued(expiration="2099-01-01T00:00:00Z"))
    cli("credential-process", R)
    server: Script = serve(error("InternalFailure", "never asked", 500))
    shown = json.loads(cli("status", "--output", "json").out)
    assert shown["profile"] == "default"
    assert [p["name"] for p in shown["profiles"]] == ["default", "work"]
    assert [(s["role"], s["profile"], s["expiration"]) for s in shown["sessions"]] == [
        (R, "default", "2099-01-01T00:00:00Z")
    ]
    text = cli("status").out
    assert "CACHED ROLE" in text
    assert "secret-" not in text
    assert server.sent == []


def test_whoami_of_a_session_shows_expiry_and_chain(cli: Any, serve: Any) -> None:
    save("default", Profile(URL, "ASIATWO", "secret", "token"))
    hop = {"name": "anna", "principal_id": "AIDA", "account": "1", "access_key_id": "AKIA", "issued_at": 1}
    found = {
        "session_id": "5" * 32, "expires_at": int(NOW * 1000) + 3_900_000, "source_identity": "anna", "hops": [hop, hop],
    }  # fmt: skip
    serve(IDENTITY, as_json(found))
    lines = cli("whoami").out.splitlines()
    assert "expires          2027-01-15 09:05:00Z (1h 05m)" in lines
    assert "Chain:" in lines
    serve(IDENTITY, as_json({"error": {"code": "NoSuchEntity", "message": "", "request_id": "r"}}, 404))
    assert cli("whoami").status == 0, "a server that does not know the call"


# --- The AWS configuration


def _read(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser()
    parsed.read(path)
    return parsed


@pytest.mark.usefixtures("two")
def test_profile_export_writes_sections_beside_those_that_are_there(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "aws" / "config"
    config.parent.mkdir()
    config.write_text("[default]\nregion = eu-west-1\n# mine\n[profile old]\nregion = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for _ in range(2):
        assert cli("profile", "export", "--role", R, "--write").status == 0
    assert config.read_text().startswith(
        "[default]\nregion = eu-west-1\n# mine\n[profile old]\nregion = x\n\n[profile r]\n"
    )
    assert config.read_text().count("[profile r]") == 1
    made = _read(config)["profile r"]
    assert made["credential_process"].endswith(f"credential-process {R} --profile default")
    assert (made["endpoint_url"], made["region"], made["services"]) == (URL, "us-east-1", "daypass-r")
    assert _read(config)["services daypass-r"]["sts"] == f"\nendpoint_url = {URL}"
    assert cli("profile", "export", "--role", R).out in config.read_text()


@pytest.mark.usefixtures("two")
def test_profile_export_leaves_a_section_alone_that_is_not_its_own(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile r]\nregion = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    ran = cli("profile", "export", "--role", R, "--write")
    assert (ran.status, config.read_text()) == (6, "[profile r]\nregion = x\n")


@pytest.mark.parametrize("name", ["a\nb", "a]", "a b", "", "a;b", "a#b", "$(x)"])
def test_sections_name_that_would_break_the_file_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="cannot be written"):
        aws_config.sections(name, "default", Profile(URL, "AKIA", "s"))
    with pytest.raises(Exception, match="cannot be written"):
        aws_config.sections("x", "default", Profile(URL, "AKIA", "s"), name or "a b")


def test_credential_process_without_a_role_gives_the_profiles_own_key(cli: Any) -> None:
    save("default", Profile(URL, "ASIATWO", "secret-two", "token", expiration="2099-01-01T00:00:00Z"))
    assert json.loads(cli("credential-process").out) == {
        "Version": 1, "AccessKeyId": "ASIATWO", "SecretAccessKey": "secret-two", "SessionToken": "token",
        "Expiration": "2099-01-01T00:00:00Z",
    }  # fmt: skip


# --- Login


@pytest.mark.usefixtures("key")
def test_login_takes_the_credentials_of_the_environment(cli: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2099-01-01T00:00:00Z")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    serve(IDENTITY)
    assert cli("login").status == 0
    found = load_all()["default"]
    assert (found.endpoint, found.access_key_id, found.session_token) == (URL, "AKIAEXAMPLE000000000", "token")
    assert (found.region, found.expiration) == ("eu-west-1", "2099-01-01T00:00:00Z")


def test_login_without_a_terminal_says_which_option_is_missing(cli: Any) -> None:
    ran = cli("login")
    assert ran.status == 2
    assert ran.err.startswith("daypass: Give --endpoint; this is not a terminal")


def test_login_with_a_web_identity_token_stores_the_roles_session(
    cli: Any, serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials = issued(expiration="2099-01-01T00:00:00Z").body.decode().partition("<AssumeRoleResult>")[2]
    credentials = credentials.partition("</AssumeRoleResult>")[0]
    answer = result("AssumeRoleWithWebIdentity", credentials)
    server = Script(answer)
    monkeypatch.setattr(login, "LoginServer", lambda endpoint, ca: LoginServer(endpoint, ca, server))
    serve(IDENTITY)
    (tmp_path / "token").write_text("header.claims.signature\n")
    given = ("--endpoint", URL, "--web-identity-token", str(tmp_path / "token"), "--session-name", "job-7")
    assert cli("login", *given).status == 2, "the role is missing"
    ran = cli("login", *given, "--role", "arn:aws:iam::111122223333:role/r", "--duration", "15m")
    assert ran.status == 0, ran.err
    sent = parameters(server.sent[0])
    assert (sent["Action"], sent["WebIdentityToken"]) == ("AssumeRoleWithWebIdentity", "header.claims.signature")
    assert (sent["RoleSessionName"], sent["DurationSeconds"]) == ("job-7", "900")
    assert "authorization" not in {name.lower() for name in server.sent[0].headers}
    assert load_all()["default"].expiration == "2099-01-01T00:00:00Z"


# --- Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_a_script_for_each_shell(cli: Any, shell: str) -> None:
    ran = cli("completion", shell)
    assert ran.status == 0
    assert "_DAYPASS_COMPLETE" in ran.out
    assert "%(" not in ran.out


@pytest.mark.usefixtures("key")
def test_completion_offers_roles_and_profiles_from_the_cache(
    cli: Any, serve: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    save("work", Profile(URL, "AKIAW", "s"))
    roles = [
        {"arn": f"arn:aws:iam::111122223333:role/{n}", "max_session_seconds": 3600} for n in ("deployer", "reader")
    ]
    server: Script = serve(as_json({"roles": roles, "next": ""}))
    cli("roles")
    asked = len(server.sent)

    def completed(line: str, word: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_DAYPASS_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", word)
        with pytest.raises(SystemExit):
            run([])
        return capfd.readouterr().out.splitlines()

    assert completed("daypass exec d", "2") == ["plain,deployer"]
    assert completed("daypass exec d", "d", "powershell") == ["deployer"]
    assert completed("daypass whoami --profile w", "3") == ["plain,work"]
    assert "plain,login" in completed("daypass log", "1")
    assert len(server.sent) == asked


def test_completion_of_a_zsh_without_start_files_is_set_up(cli: Any, tmp_path: Path) -> None:
    path = shutil.which("zsh")
    if path is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "script").write_text(cli("completion", "zsh").out)
    command = f'eval "$(cat {tmp_path}/script)" && print -r -- $_comps[daypass]'
    plain = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    ran = subprocess.run([path, "-f", "-c", command], env=plain, capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("_daypass_completion", "")


def test_export_into_a_file_with_a_long_unclosed_heading_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("[" + " " * 50_000 + "\n[ mine ]\nregion = x\n")
    aws_config.write(path, aws_config.sections("other", "default", Profile(URL, "AKIA", "s")))
    assert "[ mine ]" in path.read_text()
