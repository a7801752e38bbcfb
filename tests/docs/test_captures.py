"""Terminal captures stand alone, name no machine, and hold nothing that differs from run to run. `make check` draws them anew."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from types import ModuleType

import pytest
from lxml import etree
from tests.packaging.machine import ROOT, tool

_SOURCES = sorted((ROOT / "docs/captures").glob("*.toml"))
_HOME = {"AWS_ENDPOINT_URL": "http://127.0.0.1:40123", "HOME": "/tmp/x1"}


@pytest.fixture(scope="module")
def captures() -> ModuleType:
    return tool("captures")


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: path.stem)
def test_capture_stands_alone_and_names_no_machine(source: Path) -> None:
    text = source.with_suffix(".svg").read_text()
    picture = etree.fromstring(text.encode())
    assert "prefers-color-scheme: dark" in text
    assert picture.xpath("string(//*[local-name()='desc'])")
    assert not picture.xpath("//@href")
    rows = ["".join(row.itertext()) for row in picture.xpath("//*[local-name()='text'][@x='16']")]
    assert len(rows) > 5
    assert all(len(row) <= 100 for row in rows)
    shown = "\n".join(rows)
    assert not re.search(r"/(tmp|root|home|Users|work)\b|Traceback|internal error", shown)
    assert socket.gethostname() not in re.split(r"\W+", shown) or len(socket.gethostname()) < 4
    assert set(re.findall(r"\b\d{4}-\d\d-\d\d", shown)) <= {"2026-01-31", "2012-10-17"}
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", shown)) <= {"8700"}


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: path.stem)
def test_capture_is_on_a_page_with_a_text_in_its_place(source: Path) -> None:
    pages = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    assert [text for page in pages for text in re.findall(rf"!\[([^\]]+)\]\([./]*captures/{source.stem}\.svg\)", page)]


def test_constant_replaces_what_differs_from_run_to_run_and_keeps_what_is_equal_equal(captures: ModuleType) -> None:
    text = (
        "AKIAABCDEFGHIJKLMNOP AKIAABCDEFGHIJKLMNOP AROA" + "B" * 17 + " 0123456789abcdef0123456789abcdef "
        "01a218e6-58b6-7f63-8f31-8b32a8e56000 http://127.0.0.1:40123 /tmp/x1/f 2026-11-26T17:00:00Z 2999-01-01 00:00:00Z 1h 00m"
    )
    made = captures.constant(text, _HOME)
    first, second, role, session, request, url, path, past, *later = made.split(" ")
    assert first == second == "AKIA000000000EXAMPLE"
    assert (len(role), len(session), len(request)) == (21, 32, 36)
    assert (url, path, past) == ("http://127.0.0.1:8700", "~/f", "2026-01-31T09:00:00Z")
    assert later == ["2026-01-31", "10:00:00Z", "59m"]
    assert captures.constant(text.replace("ABCDEF", "QRSTUV").replace("01a218e6", "01b218e6"), _HOME) == made


def test_screen_drops_what_was_written_over_keeps_colours_and_folds(captures: ModuleType) -> None:
    raw = "a\x1b[31mred\x1b[0m\r\nwaiting …\r\x1b[Kdone\r\n" + "x" * 130
    assert captures.screen(raw) == [[("", "a"), ("red", "red")], [("", "done")], [("", "x" * 100)], [("", "x" * 30)]]
