"""A reader of the pages: types the commands of a block into a shell on a terminal, and answers what they ask."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.terminal import ESCAPES, Terminal

COLUMNS = 100
_PROMPT = re.compile(r"\[(\d+)\]reader> \Z")
_WITHIN = re.compile(r"\(daypass:[^)]*\) \[\d+\]reader> \Z")
_SECONDS = 60.0
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?!\.?\d)(Z|\+00:00)?")

Answers = Mapping[str, Callable[[], str]]
"""The end of a question, as a pattern → what is typed."""


@dataclass(frozen=True)
class Ran:
    """A command, its exit status, and what it showed."""

    command: str
    status: int
    shown: str


def statements(text: str) -> Iterator[str]:
    """The commands of a block, each as a shell takes it: with its continuation lines."""
    waiting = ""
    for line in text.splitlines():
        waiting += f"{line}\n"
        complete = subprocess.run(["bash", "-n"], input=waiting, capture_output=True, text=True, check=False)
        if line.endswith("\\") or complete.returncode:
            continue
        if waiting.strip() and not waiting.lstrip().startswith("#"):
            yield waiting.rstrip("\n")
        waiting = ""
    assert not waiting.strip(), f"this is not a command: {waiting}"


class Reader:
    """A shell on a terminal of 100 columns. Use it as a context manager."""

    def __init__(self, environment: Mapping[str, str], directory: Path, answers: Answers) -> None:
        ours = {"PS1": "[$?]reader> ", "PS2": "", "TERM": "dumb", "SHELL": "/bin/bash", "PAGER": "cat"}
        command = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
        self._terminal = Terminal(command, {**environment, **ours}, COLUMNS)
        self._directory = directory
        self._answers = {re.compile(question + r"\Z"): answer for question, answer in answers.items()}
        self._seen = 0

    def __enter__(self) -> Self:
        try:
            self._until_prompt()
            self.run(f"stty -echo; cd '{self._directory}'")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.__exit__(None, None, None)

    def run(self, command: str) -> Ran:
        """Types a command and waits for the next prompt. Its questions on the way are answered."""
        self._terminal.type(f"{command}\n")
        status, shown = self._until_prompt()
        return Ran(command, status, shown)

    def run_until(self, command: str, text: str) -> Ran:
        """Types a command that does not end by itself; Ctrl-C when `text` has appeared."""
        before = self._terminal.shown.count(text)
        self._terminal.type(f"{command}\n")
        self._terminal.wait_for(text, before + 1)
        self._terminal.type("\x03")
        status, shown = self._until_prompt()
        return Ran(command, 0 if status == 130 else status, shown)

    def _until_prompt(self) -> tuple[int, str]:
        ends = time.monotonic() + _SECONDS
        before = ""  # up to the last answer, whose line ends there: the terminal does not show what is typed
        while True:
            new = _text(self._terminal.raw[self._seen :])
            if _WITHIN.search(new):
                before += f"{new}\n"
                self._answer("exit")
            elif found := _PROMPT.search(new):
                self._seen = len(self._terminal.raw)
                return int(found[1]), before + new[: len(new) - len(found[0])]
            elif answer := next((a for question, a in self._answers.items() if question.search(new)), None):
                before += f"{new}\n"
                self._answer(answer())
            assert time.monotonic() < ends, f"no prompt after: {new[-1500:]!r}"
            assert self._terminal.read(), f"the shell ended: {new[-1500:]!r}"

    def _answer(self, text: str) -> None:
        self._seen = len(self._terminal.raw)
        self._terminal.type(f"{text}\n")


def _text(raw: str) -> str:
    """The final text of the terminal, without escape sequences and overwritten lines."""
    return re.sub(r"[^\n]*\r", "", re.sub(r"\r+\n", "\n", ESCAPES.sub("", raw)))


def faults(ran: Ran) -> list[str]:
    """How the output of a command differs from what the pages promise: its form, whatever it says."""
    found = []
    lines = ran.shown.splitlines()
    if "Traceback" in ran.shown or "internal error" in ran.shown:
        found.append("it shows a trace")
    if not ran.command.startswith("daypass"):
        return found
    if ran.status and ran.status != 1 and not any(line.startswith(("daypass: ", "Usage: ")) for line in lines):
        found.append("its error does not begin with daypass:")
    if "--output json" in ran.command:
        try:
            json.loads(ran.shown)
        except ValueError:
            found.append("its output is not JSON")
    else:
        found += [
            f"{len(line)} columns: {line}"
            for line in lines
            if len(line) > COLUMNS
            and " " in line.strip()
            and line.strip()[0] not in '{["'  # a document has lines of its own
        ]
    found += [f"a time without a zone: {m[0]}" for m in _TIME.finditer(ran.shown) if not m[1]]
    return found


def shape(value: object) -> object:
    """The form of JSON: names and kinds, without its values."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__
