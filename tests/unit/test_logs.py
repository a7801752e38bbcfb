"""Lines of the log have a priority for systemd's journal, and only for it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from daypass.observability.logs import is_journal, with_priority


def _text(_logger: Any, _method: str, line: Any) -> str:
    return str(line)


@pytest.mark.parametrize(
    ("method", "line", "written"),
    [
        ("error", "the disk is full", "<3>the disk is full"),
        ("exception", "first\nsecond", "<3>first\n<3>second"),
        ("warning", "late", "<4>late"),
        ("info", "ready", "<6>ready"),
        ("unknown", "x", "<6>x"),
    ],
)
def test_line_for_the_journal_begins_with_its_priority(method: str, line: str, written: str) -> None:
    assert with_priority(_text)(None, method, line) == written


def test_stream_is_the_journal_only_if_the_environment_names_its_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
