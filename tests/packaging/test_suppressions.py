"""Every suppression of a check has its reason beside it: behind it, on the line above, or once for lines that follow it."""

from __future__ import annotations

import re

from tests.packaging.machine import ROOT

_SUPPRESSION = re.compile(r"# (?:type: ignore\[(?P<type>[a-z, -]+)\]|noqa: (?P<rule>[A-Z0-9, ]+))(?P<reason>.*)$")


def unexplained(lines: list[str]) -> list[int]:
    """The numbers of the lines with a suppression that nothing explains."""
    found = []
    explained = ""  # the suppression that the lines before have explained
    for number, line in enumerate(lines, 1):
        match = _SUPPRESSION.search(line)
        if match is None:
            explained = "*" if line.lstrip().startswith("#") else ""
            continue
        name = (match["type"] or match["rule"]).strip()
        if match["reason"].strip(" #-"):
            explained = name
        elif explained not in ("*", name):
            found.append(number)
        else:
            explained = name
    return found


def test_suppression_in_the_source_has_a_reason() -> None:
    files = sorted((ROOT / "src/daypass").rglob("*.py"))
    assert len(files) > 500
    missing = {str(file.relative_to(ROOT)): unexplained(file.read_text("utf-8").splitlines()) for file in files}
    assert {file: lines for file, lines in missing.items() if lines} == {}


def test_suppression_without_a_reason_is_found() -> None:
    lines = [
        "a()  # noqa: S603",
        "# why",
        "a()  # noqa: S603",
        "b()",
        "c()  # type: ignore[misc]  # why",
        "d()  # noqa: S603",
    ]
    assert unexplained(lines) == [1, 6]
