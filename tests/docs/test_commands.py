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


def test_make_commands_have_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in _BLOCKS:
        for arguments in block.commands("make"):
            assert {word for word in arguments if re.fullmatch(r"[a-z0-9-]+", word)} <= targets, block.name
