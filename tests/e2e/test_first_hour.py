"""A new user follows README and the tutorial literally: on terminals, with a home of their own, from the clone on.

Every command comes from the pages; nothing here knows a command of its own. The only liberty is another port.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
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

    def interact(self, line: str, answer: Callable[[str], str]) -> str:
        """Types a line of Python, and answers what it asks."""
        self._shell.sendline(line)
        shown = ""
        while self._shell.expect([r">>> $", r"\.\.\. $", r"(?:^|\n)(Key id|Secret|Code|Next code): $"]) == 2:
            shown += str(self._shell.before)
            self._shell.sendline(answer(str(self._shell.match[1])))
        return shown + str(self._shell.before)

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
    """What was shown, without the places where lines were folded."""
    return " ".join(shown.split())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def code_at(seed: str, steps: int) -> str:
    return pyotp.TOTP(seed).at(time.time() + 30 * steps)


def test_new_user_follows_readme_and_tutorial(terminals: tuple[Terminal, Terminal]) -> None:
    if shutil.which("make") is None:
        pytest.skip("README asks for make")
    first, second = terminals
    pages = sections()
    assert "make demo" in (ROOT / "README.md").read_text()
    assert "Done in" in first.type("make demo", seconds=500)

    [(_, serve)] = pages[1]
    port = free_port()
    shown = first.type(f'{serve.strip()} ARGS="--port {port}"', prompt="Then try:", seconds=120)
    exports = re.findall(r"^\s*(export .*)$", shown, re.MULTILINE)
    assert [line.split("=")[0] for line in exports][:2] == ["export PATH", "export AWS_ENDPOINT_URL"]
    key, secret = (re.search(rf"{name}=(\S+)", shown)[1] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))  # type: ignore[index]
    second.lines("\n".join(exports))

    create_and_assume(second, [block for number in (2, 3, 4) for _, block in pages[number]])
    work_on_the_command_line(second, [block for _, block in pages[5]])

    [(_, revoke)] = pages[6]
    listed, ended = second.lines(revoke)
    assert "auditor" in listed
    assert re.search(r"\b[1-9]\d* active sessions? ended", words(ended)), ended

    guard_with_a_second_factor(second, [block for _, block in pages[7]], (key, secret), port)

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
    assert "auditor" in terminal.type(roles)
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


def guard_with_a_second_factor(terminal: Terminal, blocks: list[str], key: tuple[str, str], port: int) -> None:
    create, python, borrow = blocks
    document, end, commands = create.partition("\nEND\n")
    terminal.type(document + end.rstrip())
    made, refused = terminal.lines(commands)
    assert "role/vault" in made
    assert "not authorized" in words(refused) or "AccessDenied" in refused
    terminal.type("python", prompt=">>> ")
    seed = register_device(terminal, python.replace("127.0.0.1:8700", f"127.0.0.1:{port}"), key)
    assert seed
    terminal.type("exit()")
    terminal.type(borrow.strip(), prompt=": ")
    assert ":assumed-role/vault/" in terminal.type(code_at(seed, 1))


def register_device(terminal: Terminal, block: str, key: tuple[str, str]) -> str:
    """Types the block, and answers its questions as somebody with an authenticator app; the seed."""
    seed = ""

    def answer(question: str) -> str:
        nonlocal seed
        if question == "Key id":
            return key[0]
        if question == "Secret":
            return key[1]
        # The codes of the step before and of this one: the next step's is left for the login.
        return code_at(seed, -1 if question == "Code" else 0)

    for line in block.splitlines():
        shown = terminal.interact(line, answer)
        if found := re.search(r"^([A-Z2-7]{32,})\s*$", shown, re.MULTILINE):
            seed = found[1]
    return seed
