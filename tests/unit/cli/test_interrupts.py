"""Ctrl-C at each prompt, on terminals of 80 and 100 columns: a quiet end, and nothing is changed."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from tests.terminal import Terminal

from daypass.client.profiles import Profile, save

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
