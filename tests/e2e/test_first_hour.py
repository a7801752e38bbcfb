"""A new user follows README and the tutorial literally: on terminals, with a home of their own, from the clone on.

Every command comes from the pages; nothing here knows a command of its own. The only liberty is another port.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pyotp
import pytest
from tests.packaging.machine import ROOT, copy_checkout
from tests.processes import bound

pytestmark = pytest.mark.slow

_PROMPT = "new-user> "
_BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
_SECONDS = 60


class Terminal:
    """A shell on a terminal of its own. `type` sends a line and gives what was shown before the next prompt."""

    def __init__(self, directory: Path, home: Path) -> None:
        path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if not part.startswith(str(ROOT)))
        environment = {
            "PATH": path, "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8", "SHELL": "/bin/bash", "PS1": _PROMPT,
        }  # fmt: skip
        environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
        program, *arguments = bound(["/bin/bash", "--norc", "--noprofile", "-i"], "HUP")
        self._shell = pexpect.spawn(
            program, arguments, cwd=str(directory), env=environment, encoding="utf-8",
            dimensions=(50, 200), echo=False, timeout=_SECONDS,
        )  # fmt: skip
        self._shell.expect_exact(_PROMPT)
        self.type("bind 'set enable-bracketed-paste off' 2>/dev/null; export PAGER=cat PYTHON_BASIC_REPL=1")

    def type(self, line: str, prompt: str = _PROMPT, seconds: float = _SECONDS) -> str:
        self._shell.sendline(line)
        return self.shown_until(prompt, seconds)

    def shown_until(self, text: str, seconds: float = _SECONDS) -> str:
        self._shell.expect_exact(text, timeout=seconds)
        return str(self._shell.before).replace("\r\n", "\n")

    def type_until(self, line: str, question: str) -> tuple[str, bool]:
        """Sends a line; what was shown, and whether `question` came instead of the prompt."""
        self._shell.sendline(line)
        asked = self._shell.expect_exact([_PROMPT, question], timeout=_SECONDS) == 1
        return str(self._shell.before), asked

    def lines(self, block: str, prompt: str = _PROMPT) -> list[str]:
        return [self.type(line, prompt) for line in block.strip().splitlines()]

    def python(self, block: str) -> str:
        """Types a block into the interactive interpreter."""
        shown = ""
        for line in block.splitlines():
            self._shell.sendline(line)
            self._shell.expect([r">>> $", r"\.\.\. $"])
            shown += str(self._shell.before)
        assert "Error:" not in shown.replace("ClientError", ""), shown
        return shown

    def interrupt(self) -> None:
        self._shell.sendintr()
        self._shell.expect_exact(_PROMPT)

    def close(self) -> None:
        self._shell.close(force=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a repository that holds this checkout."""
    origin = tmp_path / "origin"
    origin.mkdir()
    copy_checkout(origin)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-C", str(origin))
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "all")):
        subprocess.run([*git, *arguments], check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(tmp_path / "daypass")], check=True)
    return tmp_path / "daypass"


@pytest.fixture
def terminals(clone: Path, tmp_path: Path) -> Iterator[tuple[Terminal, Terminal]]:
    (tmp_path / "home").mkdir()
    opened = (Terminal(clone, tmp_path / "home"), Terminal(clone, tmp_path / "home"))
    yield opened
    for terminal in opened:
        terminal.close()


def sections() -> dict[int, list[tuple[str, str]]]:
    """Number of a section of the tutorial → its blocks of shell and Python."""
    page = (ROOT / "docs/tutorial/first-assume-role.md").read_text()
    parts = re.split(r"^## (\d+)\..*\n", page, flags=re.MULTILINE)
    return {int(number): _BLOCK.findall(text) for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def words(shown: str) -> str:
    """The shown text, with lines unfolded."""
    return " ".join(shown.split())


def code_at(seed: str, moment: float) -> str:
    """The code of an authenticator app at a time, in seconds since the epoch."""
    return pyotp.TOTP(seed).at(int(moment))


def test_new_user_follows_readme_and_tutorial(terminals: tuple[Terminal, Terminal]) -> None:
    if shutil.which("make") is None:
        pytest.skip("README asks for make")
    first, second = terminals
    pages = sections()
    assert "make demo" in (ROOT / "README.md").read_text()
    assert "Done in" in first.type("make demo", seconds=500)

    [(_, serve)] = pages[1]
    shown = first.type(f'{serve.strip()} ARGS="--port 0"', prompt="Then try:", seconds=120)
    exports = re.findall(r"^\s*(export .*)$", shown, re.MULTILINE)
    assert [line.split("=")[0] for line in exports][:2] == ["export PATH", "export AWS_ENDPOINT_URL"]
    second.lines("\n".join(exports))

    create_and_assume(second, [block for number in (2, 3, 4) for _, block in pages[number]])
    work_on_the_command_line(second, [block for _, block in pages[5]])

    [(_, revoke)] = pages[6]
    listed, ended = second.lines(revoke)
    assert "auditor" in listed
    assert re.search(r"\b[1-9]\d* active sessions? ended", words(ended)), ended

    guard_with_a_second_factor(second, [block for _, block in pages[7]])

    [(_, leave)] = pages[8]
    record, verified, left = second.lines(leave)
    assert "AssumeRole" in record
    assert "access_denied" in record or "AccessDenied" in record
    assert "Traceback" not in verified + left
    assert "daypass login" in second.type("daypass whoami")
    first.interrupt()


def create_and_assume(terminal: Terminal, blocks: list[str]) -> None:
    terminal.type("python", prompt=">>> ")
    shown = [terminal.python(block) for block in blocks]
    assert "arn:aws:iam::123456789012:user/admin" in shown[0]
    assert ":assumed-role/auditor/morning-shift" in "".join(shown)
    assert "AccessDenied User:" in "".join(shown)
    terminal.type("exit()")


def work_on_the_command_line(terminal: Terminal, blocks: list[str]) -> None:
    enter, within, explain, become = blocks
    login, roles, shell = enter.strip().splitlines()
    assert "123456789012" in terminal.type(login)
    listed = terminal.type(roles)
    assert "auditor" in listed
    [readme] = set(re.findall(r"arn:aws:iam::\d+:role/\w+", (ROOT / "README.md").read_text()))
    assert readme in listed, "the role that the README names is one of the example roles"
    marked = "(daypass:auditor) "
    terminal.type(shell, prompt=marked)
    whoami, create, leave = within.strip().splitlines()
    terminal.type("PS1='(daypass:auditor) '", prompt=marked)
    assert ":assumed-role/auditor/" in terminal.type(whoami, prompt=marked)
    denied = terminal.type(create, prompt=marked)
    assert "not authorized to perform: iam:CreateUser" in words(denied)
    [request_id] = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", denied))
    terminal.type(leave)
    assert "Denied:" in terminal.type(explain.strip().replace("REQUEST_ID", request_id))
    _, whoami, _ = become.strip().splitlines()
    shown = terminal.lines(become)
    assert ":assumed-role/auditor/" in shown[1]
    assert ":user/admin" in terminal.type(whoami)


def confirm(terminal: Terminal, seed: str) -> str:
    """Types the codes of the step before and of this one: the next step's is left for the role. What is shown then.

    Where a step ends meanwhile, the command asks again.
    """
    while True:
        now = time.time()
        terminal.type(code_at(seed, now - 30), prompt="Next code: ")
        shown, again = terminal.type_until(code_at(seed, now), "Code: ")
        if not again:
            return shown


def guard_with_a_second_factor(terminal: Terminal, blocks: list[str]) -> None:
    create, register, borrow = blocks
    document, end, commands = create.partition("\nEND\n")
    terminal.type(document + end.rstrip())
    made, refused = terminal.lines(commands)
    assert "role/vault" in made
    assert "not authorized" in words(refused) or "AccessDenied" in refused
    secret = re.search(r"^ +([A-Z2-7]{32,})$", terminal.type(register.strip(), prompt="Code: "), re.MULTILINE)
    assert secret
    assert ":mfa/admin" in confirm(terminal, secret[1])
    terminal.type(borrow.strip(), prompt=": ")
    assert ":assumed-role/vault/" in terminal.type(code_at(secret[1], time.time() + 30))
