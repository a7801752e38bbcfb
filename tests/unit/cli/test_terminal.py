"""Features of a terminal: shells with a marked prompt, pickers, confirmations, colour."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.terminal import Terminal

from daypass.cli import output
from daypass.client.credentials import AssumeRole, Credentials
from daypass.client.profiles import Profile, save
from daypass.client.provider import CredentialProvider

DAYPASS = [sys.executable, "-m", "daypass.cli.main"]
KEY = Profile("http://127.0.0.1:9", "AKIAEXAMPLE000000000", "top-secret")
ROLE = "111122223333/deployer"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a person with a profile, and a session of ROLE that the server accepted just now. No server is needed."""
    user = tmp_path / "user"
    user.mkdir()
    found = {"DAYPASS_HOME": str(tmp_path / "home"), "HOME": str(user), "TERM": "xterm", "PATH": os.environ["PATH"]}
    save("default", KEY, found)
    save("work", KEY, found)
    now = time.time()
    request = AssumeRole(ROLE, "anna")
    held = Credentials(
        "ASIAEXAMPLE000000000", "issued", "token", now + 3600, now, checked_at=now + 20,
        role=ROLE, source_key=KEY.access_key_id, endpoint=KEY.endpoint,
    )  # fmt: skip
    file = CredentialProvider(KEY, request, cache=tmp_path / "home" / "cache").file
    file.parent.mkdir()
    file.write_text(json.dumps(asdict(held)))
    return found


START_UP = {
    "bash": (".bashrc", "PS1='mine> '; alias hello='echo from-my-file'\n"),
    "zsh": (".zshrc", "PROMPT='mine> '; alias hello='echo from-my-file'\n"),
    "fish": (
        ".config/fish/config.fish",
        "function fish_prompt; echo -n 'mine> '; end\nalias hello='echo from-my-file'\n",
    ),
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "sh"])
def test_exec_without_a_command_is_the_users_own_shell_with_a_marked_prompt(
    environment: dict[str, str], shell: str
) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    if shell in START_UP:
        name, text = START_UP[shell]
        file = Path(environment["HOME"]) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with Terminal([*DAYPASS, "exec", ROLE, "--session-name", "anna"], {**environment, "SHELL": path}) as terminal:
        terminal.wait_for(f"this shell has role {ROLE} until ")
        terminal.wait_for(f"(daypass:{ROLE}) {'mine> ' if shell in START_UP else ''}")
        if shell in START_UP:
            terminal.type("hello\n")
            terminal.wait_for("from-my-file")
        terminal.type("echo role=$DAYPASS_ROLE key=$AWS_ACCESS_KEY_ID\n")
        terminal.wait_for(f"role={ROLE} key=ASIAEXAMPLE000000000")
        terminal.type("exit 7\n")
        assert terminal.status() == 7
    assert "top-secret" not in terminal.raw


@pytest.mark.parametrize("zdotdir", ["", "dots"])
def test_zsh_within_the_shell_reads_the_users_own_files(environment: dict[str, str], zdotdir: str) -> None:
    path = shutil.which("zsh")
    if path is None:
        pytest.skip("zsh is not installed")
    own = Path(environment["HOME"]) / zdotdir
    own.mkdir(exist_ok=True)
    (own / ".zshrc").write_text("PROMPT='mine> '\n")
    more = {"ZDOTDIR": str(own)} if zdotdir else {}
    with Terminal(
        [*DAYPASS, "exec", ROLE, "--session-name", "anna"], {**environment, "SHELL": path, **more}
    ) as terminal:
        terminal.wait_for(f"(daypass:{ROLE}) mine> ")
        terminal.type('echo "dots=[${ZDOTDIR-unset}]"\n')
        terminal.wait_for(f"dots=[{own}]" if zdotdir else "dots=[unset]")
        terminal.type("exit\n")
        assert terminal.status() == 0


def test_zsh_whose_zshenv_names_another_directory_reads_the_files_there_and_keeps_its_history_there(
    environment: dict[str, str],
) -> None:
    path = shutil.which("zsh")
    if path is None:
        pytest.skip("zsh is not installed")
    user = Path(environment["HOME"])
    dots = user / "dots"
    dots.mkdir()
    (user / ".zshenv").write_text(f"export ZDOTDIR={dots}\n")
    (dots / ".zshrc").write_text("PROMPT='dots> '\n")
    own = Path(environment["DAYPASS_HOME"]) / "zsh" / ".zsh_history"  # as a system's /etc/zshrc sets it
    more = {"SHELL": path, "HISTFILE": str(own)}
    with Terminal([*DAYPASS, "exec", ROLE, "--session-name", "anna"], {**environment, **more}) as terminal:
        terminal.wait_for(f"(daypass:{ROLE}) dots> ")
        terminal.type('echo "dots=[$ZDOTDIR] history=[$HISTFILE]"\n')
        terminal.wait_for(f"dots=[{dots}] history=[{dots}/.zsh_history]")
        terminal.type("exit\n")
        assert terminal.status() == 0


def test_profile_picker_filters_and_chooses(environment: dict[str, str]) -> None:
    with Terminal([*DAYPASS, "profile", "use"], environment) as terminal:
        terminal.wait_for("Profile (number, or text to filter)")
        terminal.type("nonesuch\n")
        terminal.wait_for("Nothing matches")
        terminal.type("WOR\n")
        assert terminal.status() == 0
    assert "Profile 'work' is used from now on." in terminal.shown


def test_picker_that_is_interrupted_changes_nothing(environment: dict[str, str]) -> None:
    with Terminal([*DAYPASS, "profile", "rm"], environment) as terminal:
        terminal.wait_for("Profile (number, or text to filter)")
        assert terminal.interrupt() == 130
    assert len(json.loads((Path(environment["DAYPASS_HOME"]) / "profiles.json").read_text())["profiles"]) == 2


def test_nothing_sends_colours_where_output_is_not_a_terminal_or_no_color_is_set(environment: dict[str, str]) -> None:
    for name in ("status", "--help", "nonesuch"):
        with Terminal([*DAYPASS, name], {**environment, "NO_COLOR": "1"}) as terminal:
            terminal.status()
        assert "\x1b" not in terminal.raw


def test_chain_that_begins_with_a_password_names_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    hop = {"name": "ann", "principal_id": "AIDA1", "account": "111122223333", "issued_at": 1_800_000_000_000}
    output.hops([{**hop, "access_key_id": ""}, {**hop, "access_key_id": "ASIA1"}])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "  0. ann (AIDA1) in 111122223333 at 2027-01-15 08:00:00Z"
    assert second == "  1. ann (AIDA1) in 111122223333 with ASIA1 at 2027-01-15 08:00:00Z"
