"""The man pages come from the commands, and roff formats each without a warning."""

from __future__ import annotations

import shutil
import subprocess
from types import ModuleType

import pytest
from tests.packaging.machine import ROOT, tool

from daypass.cli.commands import COMMANDS
from daypass.cli.exits import EXIT_CODES


@pytest.fixture(scope="module")
def gen_man() -> ModuleType:
    return tool("gen_man")


def test_pages_are_up_to_date(gen_man: ModuleType) -> None:
    assert gen_man.stale() == [], "run `make docs-gen`"


def test_each_command_has_a_page_and_the_first_page_names_them_all(gen_man: ModuleType) -> None:
    made = dict(gen_man.pages())
    assert set(made) == {"daypass.1", *(f"daypass-{name}.1" for name in COMMANDS)}
    first = made["daypass.1"].replace("\\-", "-")
    assert all(f"daypass-{name}(1)" in first for name in COMMANDS)
    assert all(f".B {code}\n{meaning[:5]}" in first for code, meaning in EXIT_CODES.items() if "`" not in meaning[:5])
    assert ".B --mfa-serial ARN" in made["daypass-exec.1"].replace("\\-", "-")


def test_text_that_looks_like_a_request_is_printed(gen_man: ModuleType) -> None:
    assert gen_man.roff(".so /etc/passwd\n'x\na\\b -c") == "\\&.so /etc/passwd\n\\&'x\na\\eb \\-c"
    assert gen_man.roff("a…") == "a\\[u2026]"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_pages_are_formatted_without_a_warning() -> None:
    files = sorted(map(str, (ROOT / "man").glob("*.1")))
    ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", *files], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
