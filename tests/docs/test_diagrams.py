"""Pictures are what the tool draws of their sources, are shown on a page, and load nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from lxml import etree
from tests.packaging.machine import ROOT, tool

_SOURCES = sorted((ROOT / "docs/diagrams").glob("*.toml"))


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    return tool("diagrams")


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: path.stem)
def test_picture_is_up_to_date_and_stands_alone(diagrams: ModuleType, source: Path) -> None:
    text = source.with_suffix(".svg").read_text()
    assert text == diagrams.draw(source.read_text()), "run `make docs-gen`"
    picture = etree.fromstring(text.encode())
    assert not [link for link in picture.xpath("//@*") if ":" in str(link) and str(link) != "url(#head)"]
    assert "prefers-color-scheme: dark" in text
    assert picture.xpath("string(//*[local-name()='desc'])")


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: path.stem)
def test_picture_is_on_a_page_with_a_text_in_its_place(source: Path) -> None:
    pages = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    shown = [text for page in pages for text in re.findall(rf"!\[([^\]]+)\]\([./]*diagrams/{source.stem}\.svg\)", page)]
    assert shown


def test_there_is_a_picture_of_each_thing() -> None:
    assert {source.stem for source in _SOURCES} >= {"flow", "decision", "chain", "record", "deployment"}


def test_text_that_does_not_fit_is_refused(diagrams: ModuleType) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        diagrams.draw(
            'title = "a"\ndescription = "b"\n[box.a]\nat = [0, 0]\ntext = "a text that is much too long for it"'
        )


def test_line_to_a_box_that_is_not_there_is_refused(diagrams: ModuleType) -> None:
    with pytest.raises(KeyError):
        diagrams.draw('title="a"\ndescription="b"\n[box.a]\nat=[0, 0]\ntext="a"\n[[line]]\nfrom="a"\nto="b"')
