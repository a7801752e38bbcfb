"""Draws docs/captures/*.svg: commands of the pages as a terminal showed them, in light and dark. Run it with PYTHONPATH=.

Each text file beside the pictures names the commands. They are run against a server of their own, on a pseudo-terminal;
ids, times and addresses are then replaced by constant ones, so that a picture changes only when the commands do.
`--check` draws into memory and says which pictures are not up to date. A picture must never name a machine or a directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from tests.terminal import Terminal

CAPTURES = Path(__file__).resolve().parents[1] / "docs/captures"
COLUMNS = 100

_LETTER, _LINE, _MARGIN, _BAR = 7.8, 18, 16, 34  # pixels
_PROMPT = re.compile(r"(?:^|\n)(?:\(daypass:[^)]*\) )?\$ \Z")
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[a-ln-zA-Z]|[()][A-Z0-9]|[=>])")
_STYLES = {"1": "bold", "31": "red", "32": "green", "33": "yellow", "36": "blue"}
_NOW, _LATER = "2026-01-31{}09:00:00Z", "2026-01-31{}10:00:00Z"
_STYLE = """
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1a1c23; white-space: pre; }
.title { font: 12px system-ui, sans-serif; fill: #4c5162; text-anchor: middle; }
.prompt { fill: #3949ab; }
.typed, .bold { font-weight: 600; }
.green { fill: #1b7f3b; }
.red { fill: #c62828; }
.yellow { fill: #8a6100; }
.blue { fill: #00677d; }
.back { fill: #fbfbfd; stroke: #c9cdda; }
.bar { fill: #eceef5; }
.button { fill: #b9bece; }
@media (prefers-color-scheme: dark) {
  text { fill: #e7e9f2; }
  .title { fill: #b3b8cc; }
  .prompt { fill: #aab6ff; }
  .green { fill: #81c784; }
  .red { fill: #ef9a9a; }
  .yellow { fill: #ffd54f; }
  .blue { fill: #80deea; }
  .back { fill: #1e2129; stroke: #444a5c; }
  .bar { fill: #2b2e38; }
  .button { fill: #5b6175; }
}
"""
_STEPS = """
@keyframes appear { from { opacity: 0; } to { opacity: 1; } }
@media (prefers-reduced-motion: no-preference) {
  .step { animation: appear 0.3s both; }
}
"""


# --- Running the commands


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """The variables of somebody who has started a server for development and pasted what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        program = home / "bin/daypass"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m daypass.cli.main "$@"\n')
        program.chmod(0o755)
        base = {
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(home), "USER": "ana", "LANG": "C.UTF-8",
            "TERM": "xterm", "SHELL": "/bin/bash", "PS1": "$ ", "BASH_SILENCE_DEPRECATION_WARNING": "1",
        }  # fmt: skip
        (home / ".bashrc").write_text("PS1='$ '\n")
        command = [str(program), "serve", "--dev", "--port", "0", "--data", str(home / "data")]
        with subprocess.Popen(command, env=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
            try:
                pasted = _pasted(server)
                _await_answer(server, pasted["AWS_ENDPOINT_URL"])
                yield {**base, **pasted}
            finally:
                server.terminate()


def _pasted(server: subprocess.Popen[str]) -> dict[str, str]:
    """The variables that the server prints, without PATH."""
    found: dict[str, str] = {}
    assert server.stdout is not None
    for line in server.stdout:
        found |= dict(re.findall(r"\b(AWS_\w+)=(\S+)", line))
        if line.startswith("Then try"):
            break
    assert "AWS_SECRET_ACCESS_KEY" in found, "the server printed no key"
    return found


def _await_answer(server: subprocess.Popen[str], url: str) -> None:
    """Returns when the server answers: what it prints is there before it accepts connections."""
    while True:
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=60).close()  # noqa: S310  # http, as the server printed
        except OSError:
            time.sleep(0.1)
        else:
            return


def run(variables: dict[str, str], lines: list[Any]) -> str:
    """The screen after these lines: each a command, or [command, question, answer]."""
    with Terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"], variables, COLUMNS) as terminal:
        _await(terminal, 0)
        for line in lines:
            command, *more = [line] if isinstance(line, str) else line
            seen = len(terminal.shown)
            terminal.type(f"{command}\n")
            for question, answer in zip(more[::2], more[1::2], strict=True):
                terminal.wait_for(question)
                seen = len(terminal.shown)
                terminal.type(f"{answer}\n")
            _await(terminal, seen)
        return terminal.raw


def _await(terminal: Terminal, seen: int) -> None:
    ends = time.monotonic() + 300
    while not _PROMPT.search(terminal.shown[seen:]):
        assert terminal.read(), f"the shell ended: {terminal.shown!r}"
        assert time.monotonic() < ends, f"no prompt: {terminal.shown!r}"


# --- What it shows, with constant values


def constant(text: str, variables: dict[str, str]) -> str:
    """The text without what differs from run to run, or belongs to this machine."""
    text = re.sub(r"\b127\.0\.0\.1:\d+", "127.0.0.1:8700", text.replace(variables["HOME"], "~"))
    seen: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        kind, value = found.lastgroup or "", found[0]
        if value not in seen:
            number = sum(len(known) == len(value) for known in seen)
            digest = hashlib.sha256(f"{kind}{number}".encode()).hexdigest()
            seen[value] = {
                "key": f"{value[:4]}{number:0{len(value) - 11}}EXAMPLE",
                "uuid": f"{digest[:8]}-{digest[8:12]}-7{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}",
                "hex": digest[:32],
            }[kind]
        return seen[value]

    text = re.sub(
        r"(?P<key>\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16,17}\b)|(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"
        r"|(?P<hex>\b[0-9a-f]{32}\b)",
        numbered,
        text,
    )
    text = re.sub(r"\b(\d{4}-\d\d-\d\d)([ T])(\d\d:\d\d:\d\d)Z", _moment, text)
    text = re.sub(r"\buntil \d\d:\d\d:\d\d UTC", "until 10:00:00 UTC", text)
    text = re.sub(
        r"\b\d+( records in )\d+( logs verify, )\d+", r"37\g<1>2\g<2>9", text
    )  # a server records its own work
    return re.sub(r"\b(1h 00m|58m)$", "59m", text, flags=re.MULTILINE)


def _moment(found: re.Match[str]) -> str:
    at = datetime.fromisoformat(f"{found[1]}T{found[3]}").replace(tzinfo=UTC).timestamp()
    return (_LATER if at > time.time() + 60 else _NOW).format(found[2])


def screen(raw: str, keep: str = "") -> list[list[tuple[str, str]]]:
    """The lines of a terminal that match `keep`: runs of text, each with the names of its styles."""
    made: list[list[tuple[str, str]]] = []
    for line in _OTHER_ESCAPES.sub(lambda m: "\r" if m[0].endswith("K") else "", raw).replace("\r\n", "\n").split("\n"):
        text = line.rstrip("\r").rpartition("\r")[2]  # a message that was replaced is not shown
        parts, style = [], ""
        for index, part in enumerate(_SGR.split(text)):
            if index % 2:
                style = "" if part in ("", "0") else _STYLES.get(part, style)
            elif part:
                parts.append((style, part))
        if re.search(keep, "".join(part for _, part in parts)):
            made += _folded(parts)
    return made


def _folded(parts: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    line: list[tuple[str, str]] = []
    room = COLUMNS
    for style, text in parts:
        rest = text
        while len(rest) > room:
            yield [*line, (style, rest[:room])]
            line, rest, room = [], rest[room:], COLUMNS
        line.append((style, rest))
        room -= len(rest)
    yield line


# --- The picture


_ROLE = 'role="img" aria-labelledby="title desc"'


def _marked(line: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A prompt and what was typed after it, in styles of their own."""
    if len(line) == 1 and (found := re.match(r"((?:\(daypass:[^)]*\) )?\$ )(.*)", line[0][1])):
        return [("prompt", found[1]), ("typed", found[2])]
    return line


def svg(title: str, text: str, lines: list[list[tuple[str, str]]], step: float = 0) -> str:
    """The picture of a terminal. `text` describes it for those who cannot see it. Lines appear one by one, `step` seconds apart."""
    while lines and not "".join(part for _, part in lines[-1]).strip("$ "):
        lines = lines[:-1]
    width, height = round(COLUMNS * _LETTER + 2 * _MARGIN), len(lines) * _LINE + _BAR + 2 * _MARGIN
    rows = []
    for number, line in enumerate(lines):
        spans = "".join(
            f'<tspan class="{style}">{escape(part)}</tspan>' if style else f"<tspan>{escape(part)}</tspan>"
            for style, part in _marked(line)
        )
        y = _BAR + _MARGIN + number * _LINE + 12
        moving = f' class="step" style="animation-delay: {number * step:.2f}s"' if step else ""
        rows.append(f'<text x="{_MARGIN}" y="{y}"{moving} xml:space="preserve">{spans}</text>')
    buttons = "".join(f'<circle class="button" cx="{_MARGIN + 16 * n + 6}" cy="17" r="5"/>' for n in range(3))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_ROLE}>',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(text)}</desc>',
            f"<style>{_STYLE}{_STEPS if step else ''}</style>",
            f'<rect class="back" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
            f'<path class="bar" d="M1 {_BAR}V8a7 7 0 0 1 7-7h{width - 16}a7 7 0 0 1 7 7v{_BAR - 8}z"/>{buttons}',
            f'<text class="title" x="{width / 2:g}" y="21">{escape(title)}</text>',
            *rows,
            "</svg>",
        ]
    )


def drawn() -> Iterator[tuple[Path, str]]:
    """Every picture and its text, from runs of the commands."""
    with environment() as variables:
        for source in sorted(CAPTURES.glob("*.toml")):
            wanted = tomllib.loads(source.read_text())
            if wanted.get("setup"):
                run(variables, wanted["setup"])
            shown = constant(run(variables, wanted["lines"]), variables)
            yield (
                source.with_suffix(".svg"),
                svg(wanted["title"], wanted["text"], screen(shown, wanted.get("keep", "")), wanted.get("step", 0))
                + "\n",
            )


def main() -> int:
    """Writes the pictures; with --check, 1 when one is not up to date."""
    check, stale = "--check" in sys.argv[1:], 0
    for path, text in drawn():
        before = path.read_text() if path.exists() else ""
        if before == text:
            continue
        stale += 1
        if check:
            print(f"{path.name} is not up to date: run `make docs-gen`")
        else:
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
