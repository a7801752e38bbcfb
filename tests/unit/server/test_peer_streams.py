"""Streams between servers: greetings, peers, policies."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.patience import eventually

from daypass.config import ConfigError, Settings
from daypass.operations.accounts import FirstKey
from daypass.server import nodes
from daypass.server.from_settings import check_files, further_policies
from daypass.server.nodes import PeerStreams
from daypass.server.startup import greet


class Peer:
    """A peer that answers each connection with the next of these heartbeats."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *heartbeats: Any) -> None:
        self.heard: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        self._heartbeats = iter(heartbeats)
        monkeypatch.setattr(nodes, "open_response", self._open)
        monkeypatch.setattr(nodes, "_PAUSE_SECONDS", 0.01)

    @contextmanager
    def _open(self, *_: Any) -> Iterator[Any]:
        assert self.answers.wait(20)
        data = json.dumps(next(self._heartbeats, {})).encode()
        lines = iter([b"event: heartbeat\n", b"data: " + data + b"\n", b"\n"])
        yield SimpleNamespace(status=200, readline=lambda _: next(lines, b""))

    def streams(self) -> PeerStreams:
        known = SimpleNamespace(freshness=SimpleNamespace(note_contact=lambda node, _: self.heard.append(node)))
        proofs = SimpleNamespace(make=lambda: "proof")
        return PeerStreams(["http://127.0.0.1:1"], "", proofs, known)  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", [{"at": 1, "nodes": None}, {"at": 1, "nodes": []}, [], {"at": 10**400, "nodes": {}}])
async def test_peer_that_sends_what_cannot_be_read_is_followed_again(
    monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    peer = Peer(monkeypatch, broken, {"at": 1000, "nodes": {"other": 0}})
    streams = peer.streams()
    streams.start()
    await eventually(lambda: peer.heard == ["other"])
    streams.stop()


def test_thread_of_a_peer_ends_quietly_when_the_loop_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a start that failed."""
    faults: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    peer = Peer(monkeypatch, {"at": 1000, "nodes": {"other": 0}})
    peer.answers.clear()
    streams = peer.streams()

    async def start() -> None:
        streams.start()

    asyncio.run(start())
    peer.answers.set()
    [thread] = streams._threads
    thread.join(20)
    assert (thread.is_alive(), faults, peer.heard) == (False, [], [])


# --- The lines that `daypass serve --dev` prints to be pasted: each shell takes them, and they fit a terminal


URL = "http://127.0.0.1:65535"
KEY = FirstKey("AKIAEXAMPLE000000000", "s" * 40, "123456789012", "admin")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command of an installation that is not on PATH."""
    path = tmp_path / "its own" / "daypass"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho own\n")
    path.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(path), "serve", "--dev"])
    return path


def pasted(capsys: pytest.CaptureFixture[str]) -> list[str]:
    greet(URL, KEY, "")
    return [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  export ")]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_lines_pasted_into_a_shell_set_every_variable_and_keep_its_path(
    program: Path, capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = "\n".join([*pasted(capsys), "daypass", "env"])
    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run([shell, "-c", script], env=plain, capture_output=True, text=True, check=False)
    first, *lines = ran.stdout.splitlines()
    assert (first, ran.stderr) == ("own", "")
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    assert found["PATH"] == f"{program.parent}:{plain['PATH']}"
    assert {name: value for name, value in found.items() if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL": URL, "AWS_ENDPOINT_URL_STS": URL, "AWS_ENDPOINT_URL_IAM": URL,
        "AWS_ACCESS_KEY_ID": KEY.key_id, "AWS_SECRET_ACCESS_KEY": KEY.secret,
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip


def test_lines_fit_a_terminal(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    greet(URL, KEY, "https://daypass.example.com")
    lines = [line for line in capsys.readouterr().out.splitlines() if str(program.parent) not in line]
    assert max(map(len, lines)) <= 100, max(lines, key=len)


def test_path_is_named_where_another_installation_would_be_found(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other/daypass"
    other.parent.mkdir()
    shutil.copy(program, other)
    monkeypatch.setenv("PATH", f"{other.parent}:{program.parent}")
    assert pasted(capsys)[0].startswith("export PATH=")
    monkeypatch.setenv("PATH", f"{program.parent}:{other.parent}")
    assert pasted(capsys)[0] == f"export AWS_ENDPOINT_URL={URL}"


def test_what_to_try_needs_no_other_program_first(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    greet(URL, KEY, "https://daypass.example.com")
    _, _, tried = capsys.readouterr().out.partition("Then try:\n")
    commands = [line.split() for line in tried.splitlines() if line.startswith("  ") and "://" not in line]
    assert commands[0] == ["daypass", "whoami"]
    assert [words[0] for words in commands] == ["daypass", "daypass", "aws", "daypass"]


# --- The managed policies that an operator adds from files


STATEMENT = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}
DOCUMENT = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})


def test_further_policies_have_the_paths_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "service-role").mkdir()
    (tmp_path / "service-role" / "AWSLambdaBasicExecutionRole.json").write_text(DOCUMENT)
    (tmp_path / "Billing.json").write_text(DOCUMENT)
    (tmp_path / "README.md").write_text("no policy")
    assert further_policies(tmp_path) == {
        "arn:aws:iam::aws:policy/Billing": DOCUMENT,
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole": DOCUMENT,
    }
    assert further_policies(None) == {}


@pytest.mark.parametrize("content", [b"{", b'{"PolicyVersion": {}}', b"\xff"])
def test_further_policies_that_are_none_keep_the_server_from_starting(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Broken.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^aws\.policies: .*(policy/Broken|utf-8)"):
        further_policies(tmp_path)


def test_further_policies_need_their_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory"):
        further_policies(tmp_path / "none")


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [
        ("access", "calendars", "directory"),
        ("federation", "files", "directory"),
        ("checks", "ca_bundle", "file"),
        ("peers", "ca_bundle", "file"),
        ("sign_in", "passkey_roots", "file"),
    ],
)
def test_check_files_of_a_missing_path_names_the_setting(tmp_path: Path, section: str, key: str, kind: str) -> None:
    (tmp_path / "file").touch()
    there = tmp_path if kind == "directory" else tmp_path / "file"
    check_files(Settings.model_validate({section: {key: str(there)}}))
    for wrong in (tmp_path / "none", tmp_path / "file" if kind == "directory" else tmp_path):
        with pytest.raises(ConfigError, match=rf"^{section}\.{key}: {wrong} is not a {kind}\.$"):
            check_files(Settings.model_validate({section: {key: str(wrong)}}))
