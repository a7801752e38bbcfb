"""The lines that `daypass serve --dev` prints to be pasted: each shell takes them, and they fit a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from daypass.operations.accounts import FirstKey
from daypass.server.startup import greet

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
