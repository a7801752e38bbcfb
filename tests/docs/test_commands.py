"""Every command in the pages is one that the command line takes, and the blocks that can run here do what they show."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from tests.docs.shell_blocks import PAGES, Block, blocks
from tests.packaging.machine import ROOT

from daypass.cli.app import cli

_BLOCKS = blocks()


def name(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("block", [b for b in _BLOCKS if [*b.commands("daypass")]], ids=name)
def test_every_daypass_command_is_accepted_by_the_command_line(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsed by the real parser with its own types; only the last step, what the command does, is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Command, "invoke", lambda _self, _ctx: None)
    monkeypatch.setenv("DAYPASS_HOME", str(tmp_path))
    for kind in (click.File, click.Path):  # the pages name files of their readers
        monkeypatch.setattr(kind, "convert", lambda _self, value, *_: value)
    for arguments in block.commands("daypass"):
        if arguments == ["--version"]:
            continue
        cli.main(arguments, prog_name="daypass", standalone_mode=False)


def test_blocks_are_found_on_most_pages() -> None:
    assert len(_BLOCKS) > 60
    assert sum(len([*block.commands("daypass")]) for block in _BLOCKS) > 100


def test_no_shell_block_escapes_the_search() -> None:
    fences = sum(len(re.findall(r"^ *```sh\n", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert fences == len(_BLOCKS)


def inline_commands(page: Path) -> set[str]:
    """Commands that the running text names: `daypass role trust NAME`, also with alternatives (`user|group`)."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return set(re.findall(r"`daypass ([a-z][^`]*)`", text))


@pytest.mark.parametrize("page", [p for p in PAGES if inline_commands(p)], ids=lambda page: page.stem)
def test_every_daypass_command_in_the_running_text_exists(page: Path) -> None:
    for text in inline_commands(page):
        groups: list[click.Command] = [cli]
        for word in text.split():
            if not re.fullmatch(r"[a-z][a-z|-]*", word) or not any(isinstance(each, click.Group) for each in groups):
                break
            found = [
                each.get_command(click.Context(each), name)
                for each in groups
                if isinstance(each, click.Group)
                for name in word.split("|")
            ]
            groups = [each for each in found if each is not None]
            assert len(groups) == len(found), f"{page.name}: daypass {text}: there is no {word}"


def test_make_commands_have_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in _BLOCKS:
        for arguments in block.commands("make"):
            assert {word for word in arguments if re.fullmatch(r"[a-z0-9-]+", word)} <= targets, block.name
