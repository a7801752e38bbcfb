"""The shell blocks of the pages: their commands, and the reason where a block is marked as not run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.packaging.machine import ROOT

_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^>]+?) -->\n+)?^(?P<indent> *)```sh\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_WHOLE_PAGE = re.compile(r"^<!-- none of this page's blocks is run: (.+) -->$", re.MULTILINE)
_OPERATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", ")", "(", ">&"}
_ASSIGNMENT = re.compile(r"\w+=")

PAGES = sorted(
    [
        ROOT / "README.md",
        *(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name not in ("adr", "reference")),
    ]
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    text: str
    reason: str  # why it is not run; empty where it is

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self, program: str) -> Iterator[list[str]]:
        """The arguments of each call of `program`, also within pipes and command substitutions."""
        text = re.sub(r"<<'END'\n.*?^END$", "", self.text, flags=re.DOTALL | re.MULTILINE)
        text = re.sub(r"\\\n\s*", " ", text)
        text = re.sub(r'"\$\(([^()$]*)\)"', r" ; \1 ; ", text)
        within = re.findall(r"\$\(([^()$]*)\)", text)
        text = "\n".join([re.sub(r"\$\([^()$]*\)", "VALUE", text), *within])
        line = ""
        for part in text.splitlines():
            line += part
            try:
                words = _words(line)
            except ValueError:  # a quotation that goes on
                line += "\n"
                continue
            yield from _calls(words, program)
            line = ""
        assert not line, f"{self.name}: a quotation is not closed"


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return [*lexer]


def _calls(words: list[str], program: str) -> Iterator[list[str]]:
    current: list[str] = []
    for word in [*words, ";"]:
        if word not in _OPERATORS:
            current.append(word)
            continue
        while current and (_ASSIGNMENT.match(current[0]) or current[0] in ("eval", "sudo")):
            current.pop(0)
        if current[:1] == [program]:
            yield [argument for argument in current[1:] if argument != "…"]
        current = []


def blocks() -> list[Block]:
    """Every shell block of every page that people write."""
    found = []
    for page in PAGES:
        text = page.read_text()
        whole = _WHOLE_PAGE.search(text)
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("indent")) + 1
            found.append(Block(page, line, dedent(match["text"]), match["reason"] or (whole[1] if whole else "")))
    return found
