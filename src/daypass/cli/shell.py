"""The user's own shell, with a prompt that shows the role, after its start-up files; and the shell that calls us."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from daypass.cli.environment import short_name
from daypass.client.profiles import home, private_directory, write_private


class Program(NamedTuple):
    """A command and its whole environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def marked(role: str, environment: Mapping[str, str]) -> Program:
    """The shell of SHELL, marked with `(daypass:ROLE)`."""
    shell = environment.get("SHELL") or "/bin/sh"
    mark = f"(daypass:{short_name(role)}) "
    made = {**environment, "DAYPASS_PROMPT": mark}
    kind = Path(shell).name
    if kind == "bash":
        text = '[ -f ~/.bashrc ] && . ~/.bashrc\nPS1="$DAYPASS_PROMPT$PS1"\n'
        return Program((shell, "--rcfile", f"/dev/fd/{_readable(text)}", "-i"), made)
    if kind == "zsh":
        return Program((shell, "-i"), {**made, **_zsh(environment)})
    if kind == "fish":
        prompt = (
            "functions -c fish_prompt _daypass_prompt; "
            "function fish_prompt; echo -n $DAYPASS_PROMPT; _daypass_prompt; end"
        )
        return Program((shell, "-i", "-C", prompt), made)
    return Program((shell, "-i"), {**made, "PS1": f"{mark}$ "})


_SYNTAX = {"fish": "fish", "pwsh": "powershell", "powershell": "powershell"}


def syntax_of_caller() -> str:
    """The syntax of the shell that called this process: "fish", "powershell", or "sh" for every other program.

    SHELL does not tell: it names the login shell.
    """
    parent = os.getppid()
    try:
        name = Path(f"/proc/{parent}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        asked = ["ps", "-o", "comm=", "-p", str(parent)]
        try:
            name = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=5).stdout  # noqa: S603  # a fixed command
        except (OSError, subprocess.SubprocessError):
            name = ""
    return _SYNTAX.get(Path(name.strip().lstrip("-")).name, "sh")


def _readable(text: str) -> int:
    """A descriptor, passed on to the shell, from which it reads `text`."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader


_RESTORE = 'if [ -n "$DAYPASS_ZDOTDIR" ]; then ZDOTDIR="$DAYPASS_ZDOTDIR"; else unset ZDOTDIR; fi\n'
_READ = '[ -f "${{ZDOTDIR:-$HOME}}/{name}" ] && . "${{ZDOTDIR:-$HOME}}/{name}"\n'
_AFTER = {
    ".zshenv": 'export DAYPASS_ZDOTDIR="$ZDOTDIR"\nZDOTDIR="$DAYPASS_OWN_ZDOTDIR"\n',  # the user's file may set it
    ".zshrc": 'PROMPT="$DAYPASS_PROMPT$PROMPT"\n',
}
_HISTORY = 'case "$HISTFILE" in "$DAYPASS_OWN_ZDOTDIR"/*) HISTFILE="${ZDOTDIR:-$HOME}/${HISTFILE##*/}" ;; esac\n'
"""A system's own start-up file may have put the history beside ours."""


def _zsh(environment: Mapping[str, str]) -> dict[str, str]:
    """Zsh reads its start-up files from one directory: ours, whose files read the user's."""
    own = home(environment).absolute()
    private_directory(own)  # zsh runs what is in it
    directory = own / "zsh"
    for name, after in _AFTER.items():
        history = _HISTORY if name == ".zshrc" else ""
        write_private(directory / name, _RESTORE + history + _READ.format(name=name) + after)
    users = environment.get("ZDOTDIR", "")
    return {"ZDOTDIR": str(directory), "DAYPASS_ZDOTDIR": users, "DAYPASS_OWN_ZDOTDIR": str(directory)}
