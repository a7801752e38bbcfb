"""Streams, interrupts and files of commands."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.terminal import Terminal
from tests.unit.cli.conftest import Run
from tests.unit.client.servers import Script, as_json

from daypass.client.profiles import Profile, save

pytestmark = pytest.mark.usefixtures("key")

Serve = Callable[..., Script]

TEXT = [
    "anchor create a FILE",
    "assume r --policy FILE",
    "iam CreatePolicy PolicyName=p PolicyDocument=@FILE",
    "client create c jwks=@FILE",
    "lint FILE --fail-on never",
    "login --web-identity-token FILE --role arn:aws:iam::111122223333:role/r --endpoint http://127.0.0.1:8700",
    "notify set n slack https://hooks.example --secret-file FILE",
    "policy create p FILE",
    "provider set p jwks_bearer=@FILE",
    "request create arn:aws:iam::111122223333:role/r --reason why --policy FILE",
    "resource-server put r --scope s=FILE",
    "role create r --trust FILE",
    "rule diff FILE",
    "simulate --action a:b --policy FILE",
    "stream create --push https://a.example --header-file FILE",
    "trust test r --token FILE",
    "user put u p FILE",
]
JSON = ["client create c jwks=@FILE", "policy create p FILE", "resource-server put r --scope s=FILE", "rule diff FILE"]
NO_TEXT = {"binary": b"\xff\xfe\x00", "huge": b" " * (1024 * 1024 + 1)}
NO_JSON = {"empty": b"", "words": b"no JSON", "deep": b"[" * 100_000, "null byte": b'{"a": "\x00"}'}


def refused(cli: Run, serve: Serve, command: str, path: Path) -> str:
    """The command's message about this file."""
    server = serve(as_json({"settings": {}, "approval_rules": []}))
    ran = cli(*(word.replace("FILE", str(path)) for word in command.split()))
    assert (ran.status in (2, 6), ran.out) == (True, ""), ran.err
    assert [request.method for request in server.sent if request.method not in ("GET", "HEAD")] == []
    (line,) = ran.err.splitlines()
    assert line.startswith("daypass: ")
    assert "internal error" not in line
    return line


@pytest.mark.parametrize("command", TEXT)
@pytest.mark.parametrize("content", NO_TEXT.values(), ids=NO_TEXT)
def test_file_that_is_no_text_or_too_large_is_refused(
    cli: Run, serve: Serve, tmp_path: Path, command: str, content: bytes
) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    assert str(path) in refused(cli, serve, command, path)


@pytest.mark.parametrize("command", TEXT)
@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_file_that_is_missing_or_a_directory_is_refused(
    cli: Run, serve: Serve, tmp_path: Path, command: str, kind: str
) -> None:
    path = tmp_path / "given"
    if kind == "directory":
        path.mkdir()
    assert str(path) in refused(cli, serve, command, path)


@pytest.mark.parametrize("command", JSON)
@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_file_that_is_not_json_is_refused(cli: Run, serve: Serve, tmp_path: Path, command: str, content: bytes) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    assert "JSON" in (line := refused(cli, serve, command, path)) or "nested" in line


# --- `daypass stream` over a scripted server


CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
STREAM = {
    "stream_id": "ab12",
    "aud": "arn:aws:daypass::1:event-stream/ab12",
    "delivery": {"endpoint_url": "https://s/p"},
}


def test_stream_create_sends_the_address_the_header_of_a_file_and_the_events(
    cli: Any, serve: Any, tmp_path: Path
) -> None:
    (tmp_path / "header").write_text("Bearer s3cret\n")
    server = serve(as_json(STREAM))
    options = ("--push", "https://siem.example", "--header-file", f"{tmp_path}/header", "--event", "session-revoked")
    ran = cli("stream", "create", *options)
    assert ran.status == 0, ran.err
    assert "ab12" in ran.out
    assert "s3cret" not in ran.out
    (sent,) = server.sent
    assert (sent.method, sent.target) == ("POST", "/ssf/streams")
    delivery = {
        "method": "urn:ietf:rfc:8935",
        "endpoint_url": "https://siem.example",
        "authorization_header": "Bearer s3cret",
    }
    assert json.loads(sent.body) == {"delivery": delivery, "events_requested": [f"{CAEP}session-revoked"]}


def test_stream_create_without_an_address_is_polled(cli: Any, serve: Any) -> None:
    server = serve(as_json(STREAM))
    assert cli("stream", "create").status == 0
    assert json.loads(server.sent[0].body) == {"delivery": {"method": "urn:ietf:rfc:8936"}}


def test_stream_create_with_a_header_and_no_address_is_a_usage_error(cli: Any, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "header").write_text("x")
    server = serve(as_json(STREAM))
    assert cli("stream", "create", "--header-file", f"{tmp_path}/header").status == 2
    assert server.sent == []


# --- Ctrl-C at each prompt, on terminals of 80 and 100 columns: a quiet end, and nothing is changed


DAYPASS = [sys.executable, "-m", "daypass.cli.main"]
KEY = Profile("http://127.0.0.1:9", "AKIAEXAMPLE000000000", "top-secret")
PROMPTS = {
    "deletion": (("key", "rm", "AKIAEXAMPLE000000001"), "[y/N]"),
    "removal of a profile": (("profile", "rm", "work"), "[y/N]"),
    "address": (("login",), "Server:"),
    "secret": (("login", "--endpoint", KEY.endpoint, "--access-key-id", "AKIA"), "Secret access key:"),
    "code": (("assume", "111122223333/r", "--mfa-serial", "arn:mfa"), "MFA code of arn:mfa:"),
    "code of a program": (("credential-process", "111122223333/r", "--mfa-serial", "arn:mfa"), "MFA code of arn:mfa:"),
    "profile": (("profile", "use"), "Profile (number, or text to filter)"),
}


@pytest.mark.parametrize(("name", "columns"), [(name, 80 + 20 * (i % 2)) for i, name in enumerate(PROMPTS)])
def test_prompt_that_is_interrupted_ends_quietly_and_changes_nothing(tmp_path: Path, name: str, columns: int) -> None:
    environment = {"DAYPASS_HOME": str(tmp_path), "HOME": str(tmp_path), "TERM": "xterm", "PATH": os.environ["PATH"]}
    for profile in ("default", "work"):
        save(profile, KEY, environment)
    stored = (tmp_path / "profiles.json").read_bytes()
    command, prompt = PROMPTS[name]
    with Terminal([*DAYPASS, *command], environment, columns) as terminal:
        terminal.wait_for(prompt)
        assert terminal.interrupt() in (130, -signal.SIGINT)  # a second Ctrl-C may arrive while the program ends
    assert "Traceback" not in terminal.shown
    assert re.search(r"\n(\^C)*\Z", terminal.shown), "the shell's prompt begins on a line of its own"
    assert all(len(line.replace("^C", "")) <= columns for line in terminal.shown.splitlines())
    assert (tmp_path / "profiles.json").read_bytes() == stored
