"""`credential-process` and `exec` served from the cache without click do what the commands themselves do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.client.servers import Script, issued

from daypass.cli import argv, exits, hot
from daypass.cli.durations import seconds_of
from daypass.cli.exec import exec_
from daypass.cli.main import run
from daypass.cli.process import credential_process
from daypass.client import state
from daypass.client.credentials import AssumeRole, Credentials
from daypass.client.profiles import Profile, home, save
from daypass.client.provider import CredentialProvider

ENDPOINT = "http://127.0.0.1:8700"
KEY = Profile(ENDPOINT, "AKIAEXAMPLE000000000", "top-secret")
ROLE = "111122223333/r"
WORDS = [
    ROLE,
    "",
    "-x",
    "--",
    "aws",
    "--fresh",
    "--duration=900",
    "--tag",
    "a=b",
    "900",
    "1h",
    "x",
    *sorted(argv.PLAIN),
]


def _held(request: AssumeRole, profile: Profile = KEY, **changes: Any) -> Path:
    """A session in the cache that the server accepted just now; its file."""
    now = time.time()
    held = Credentials(
        "ASIAEXAMPLE000000000", "issued", "token", now + 3600, now, checked_at=now,
        role=request.role, source_key=profile.access_key_id, endpoint=profile.endpoint,
    )  # fmt: skip
    file = CredentialProvider(profile, request).file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**asdict(held), **changes}))
    return file


def test_options_of_the_table_are_options_of_the_commands_that_take_one_text() -> None:
    for command in (exec_, credential_process):
        options = {name: p for p in command.params if isinstance(p, click.Option) for name in p.opts}
        for name in argv.PLAIN:
            assert not options[name].is_flag
            assert (options[name].nargs, options[name].multiple, options[name].default) == (
                1,
                False,
                options[name].default,
            )
            assert not options[name].default


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=7))
def test_command_line_that_is_read_without_click_is_read_the_same_by_click(words: list[str]) -> None:
    line = argv.plain(words)
    if line is None:
        return
    role, options = line
    if "--duration" in options and seconds_of(options["--duration"]) is None:
        return  # the cache is not asked then
    found = credential_process.make_context("credential-process", list(words)).params
    assert found["role"] == role
    expected = dict.fromkeys(argv.PLAIN, "") | options
    expected["--duration"] = str(seconds_of(options.get("--duration", "0")))
    assert {name: str(found[name.strip("-").replace("-", "_")]) for name in argv.PLAIN} == expected
    assert not found["fresh"]
    assert not found["tag"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=7))
def test_exec_begins_the_users_command_where_click_does(words: list[str]) -> None:
    count = argv.own(words, argv.PLAIN)
    if argv.plain(words[:count]) is None or "--duration" in words[:count]:
        return
    context = exec_.make_context("exec", list(words))
    rest = words[count:]
    assert list(context.obj) == (rest[1:] if rest[:1] == ["--"] else rest)
    assert context.params["role"] == argv.plain(words[:count])[0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        ([ROLE], AssumeRole(ROLE)),
        (["--session-name", "n", ROLE], AssumeRole(ROLE, "n")),
        ([ROLE, "--duration", "1h30m", "--external-id", "x"], AssumeRole(ROLE, duration=5400, external_id="x")),
        ([ROLE, "--source-identity", "s"], AssumeRole(ROLE, source_identity="s")),
        ([ROLE, "--mfa-serial", "arn:mfa"], AssumeRole(ROLE, serial_number="arn:mfa")),
        ([ROLE, "--profile", "work"], AssumeRole(ROLE)),
    ],
)
def test_credential_process_without_click_prints_what_it_prints_with_click(
    cli: Callable[..., Any], serve: Callable[..., Script], monkeypatch: pytest.MonkeyPatch, arguments: list[str],
    request_: AssumeRole,
) -> None:  # fmt: skip
    server = serve()
    server.clock.now = time.time()  # type: ignore[attr-defined]
    save("default", KEY)
    save("work", KEY)
    _held(request_)
    assert hot.run(["credential-process", *arguments]) == 0
    fast = cli("credential-process", *arguments)
    monkeypatch.setattr(hot, "run", lambda _: None)
    slow = cli("credential-process", *arguments)
    assert (fast.status, slow.status) == (0, 0), slow.err
    assert json.loads(fast.out.splitlines()[-1]) == json.loads(slow.out)
    assert json.loads(slow.out)["SecretAccessKey"] == "issued"
    assert server.sent == []


def test_exec_without_click_gives_the_environment_that_it_gives_with_click(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[Any, ...]] = []
    monkeypatch.setattr("os.execvpe", lambda *program: became.append(program))
    monkeypatch.setenv("AWS_PROFILE", "other")
    save("default", KEY)
    _held(AssumeRole(ROLE))
    assert hot.run(["exec", ROLE, "aws", "--profile", "x"]) is None
    monkeypatch.setattr(hot, "run", lambda _: None)
    cli("exec", ROLE, "aws", "--profile", "x")
    fast, slow = became
    assert fast == slow
    assert fast[1] == ["aws", "--profile", "x"]
    assert "AWS_PROFILE" not in fast[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"checked_at": 0.0},
        {"expiration": time.time() + 4},
        {"issued_at": time.time() - 36_000, "expiration": time.time() + 3600},
        {"endpoint": "http://other:8700"},
        {"source_key": "AKIAOTHER00000000000"},
        {"role": "444455556666/r"},
        {"secret_access_key": ""},
        {"offset": "0"},
        {"expiration": 1e300},
        {"expiration": float("nan")},
    ],
)
def test_a56_session_that_is_stale_or_of_somebody_else_is_not_served_without_the_server(
    changes: dict[str, Any],
) -> None:
    save("default", KEY)
    _held(AssumeRole(ROLE))
    assert hot.run(["credential-process", ROLE]) == 0
    file = _held(AssumeRole(ROLE), **changes)
    assert hot.run(["credential-process", ROLE]) is None
    if (
        set(changes) & {"endpoint", "source_key", "role", "offset", "secret_access_key"}
        or changes.get("expiration") == 1e300
    ):
        assert state.session(str(file), KEY.endpoint, KEY.access_key_id, ROLE) is None


def test_a56_session_of_another_server_is_not_served(cli: Callable[..., Any], serve: Callable[..., Script]) -> None:
    save("default", KEY)
    held = _held(AssumeRole(ROLE))
    other = Profile("http://127.0.0.1:8701", KEY.access_key_id, KEY.secret_access_key)
    held.rename(CredentialProvider(other, AssumeRole(ROLE)).file)  # as if somebody had moved it there
    server = serve(issued())
    assert cli("credential-process", ROLE, "--endpoint", other.endpoint).status == 0
    assert len(server.sent) == 1


@pytest.mark.parametrize("profile", ["work", "nonesuch"])
def test_profile_that_must_be_reported_is_left_to_click(profile: str) -> None:
    _held(AssumeRole(ROLE))
    home().mkdir(exist_ok=True)
    fields = {**asdict(KEY), "region": "eu west\n"}
    (home() / "profiles.json").write_text(json.dumps({"profiles": {"work": fields}}))
    assert hot.run(["credential-process", ROLE, "--profile", profile]) is None


def test_program_that_is_not_there_is_reported_by_click(cli: Callable[..., Any]) -> None:
    save("default", KEY)
    _held(AssumeRole(ROLE))
    ran = cli("exec", ROLE, "/nonesuch")
    assert (ran.status, ran.err) == (127, "daypass: /nonesuch: No such file or directory\n")


def test_exec_with_an_empty_command_is_reported_by_click(cli: Callable[..., Any]) -> None:
    save("default", KEY)
    _held(AssumeRole(ROLE))
    ran = cli("exec", ROLE, "--", "")
    assert (ran.status, ran.err.count("\n")) == (2, 1)


def test_reader_that_has_gone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(hot, "run", gone)
    monkeypatch.setattr("os.dup2", lambda *_: 1)
    assert run(["credential-process", ROLE]) == 141
    assert 141 in exits.EXIT_CODES


@pytest.mark.parametrize("arguments", [["credential-process", ROLE], ["exec", ROLE, "--", "true"]])
def test_session_in_the_cache_is_served_without_a_parser_of_options(arguments: list[str]) -> None:
    save("default", KEY)
    _held(AssumeRole(ROLE))
    script = f"""
import os, sys
def become(*program):
    raise SystemExit(0)
os.execvpe = become
from daypass.cli.main import run
try:
    run({arguments!r})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(state.__file__).parents[2])},
    )  # fmt: skip
    heavy = {
        "click",
        "dataclasses",
        "inspect",
        "pathlib",
        "tempfile",
        "typing",
        "http.client",
        "ssl",
        "random",
        "shlex",
    }
    assert not heavy & set(ran.stderr.split())


# --- `daypass prompt`


def test_prompt_shows_the_role_that_exec_set_and_the_minutes_left(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYPASS_ROLE", "arn:aws:iam::111122223333:role/team/deployer")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", state.iso_time(time.time() + 42 * 60 + 30))
    assert cli("prompt").out == "team/deployer 42m\n"
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", state.iso_time(time.time() - 1))
    assert cli("prompt").out == "team/deployer expired\n"
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "soon")
    assert cli("prompt").out == ""
    monkeypatch.setenv("DAYPASS_ROLE", "a$(reboot)`%F{red}\x1b[2J")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", state.iso_time(time.time() + 30))
    assert re.fullmatch(r"arebootFred2J (30|29)s\n", cli("prompt").out)


def test_prompt_shows_the_session_of_the_cache_that_was_used_last(cli: Any) -> None:
    assert cli("prompt").out == ""
    save("default", KEY)
    old, new = _held(AssumeRole("111122223333/old")), _held(AssumeRole("111122223333/new"))
    os.utime(old, (1, 1))
    assert re.fullmatch(r"111122223333/new (59m|1h 00m)\n", cli("prompt").out)
    _held(AssumeRole("111122223333/new"), expiration=time.time() + 1)
    assert cli("prompt").out.startswith("111122223333/old ")
    new.write_text("[")
    old.write_text(json.dumps({**json.loads(old.read_text()), "source_key": "AKIAOTHER00000000000"}))
    assert (cli("prompt").status, cli("prompt").out) == (0, "")


def test_prompt_loads_neither_the_parser_nor_the_http_client() -> None:
    program = "import sys; from daypass.cli.main import run; run(['prompt']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "http.client", "ssl", "subprocess", "pathlib", "dataclasses"} & set(loaded)
