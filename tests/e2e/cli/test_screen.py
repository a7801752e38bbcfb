"""`daypass tui` and `daypass prompt` as a person has them: on a terminal, against a real server."""

from __future__ import annotations

import re

import pytest
from tests.e2e.cli.conftest import DAYPASS, Command
from tests.e2e.conftest import OPERATOR
from tests.terminal import Terminal

pytestmark = pytest.mark.slow


def test_tui_shows_who_you_are_and_the_sessions_that_you_began(daypass: Command, role: str) -> None:
    assert daypass("exec", role, "--session-name", "on-the-screen", "true").status == 0
    with Terminal([*DAYPASS, "tui"], {**daypass.environment, "TERM": "xterm-256color"}, 120) as terminal:
        terminal.wait_for(f"arn:aws:iam::{OPERATOR}:user/admin")
        terminal.wait_for("on-the-screen")
        terminal.type("q")
        assert terminal.process.wait(60) == 0


def test_prompt_shows_the_role_inside_and_outside_of_exec(daypass: Command, role: str) -> None:
    inside = daypass("exec", role, "--duration", "15m", "--", *DAYPASS, "prompt")
    assert re.fullmatch(rf"{role} 1[45]m\n", inside.out), inside
    assert re.fullmatch(rf"\S*{role} 1[45]m\n", daypass("prompt").out)
    script = daypass("assume", role, "--shell", "sh").out
    assert f"export DAYPASS_ROLE=arn:aws:iam::{OPERATOR}:role/{role}" in script or f"DAYPASS_ROLE={role}" in script
