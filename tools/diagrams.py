"""Draws docs/diagrams/*.svg from the text files beside them; `--check` only says which are not up to date.

A source is TOML: boxes on a grid, lines between them, and regions around them. The pictures need no font, script or file
from elsewhere, and follow the reader's light or dark setting.
"""

from __future__ import annotations

import sys
import tomllib
from html import escape
from pathlib import Path
from typing import Any

DIAGRAMS = Path(__file__).resolve().parents[1] / "docs/diagrams"

_CELL, _ROW = 200, 110  # pixels from one column or row to the next
_WIDTH, _HEIGHT = 160, 64  # of a box of one cell
_MARGIN = 30
_LINE = 17  # of text
_LETTER = 6.4  # a typical width

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1a1c23; text-anchor: middle; }
.title { font-weight: 600; }
.small { font-size: 11.5px; fill: #4c5162; }
.label { font-size: 11.5px; fill: #3949ab; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
.box { fill: #eef0fb; stroke: #3f51b5; stroke-width: 1.3; }
.store { fill: #e6f4ea; stroke: #2e7d32; }
.deny { fill: #fdecea; stroke: #c62828; }
.plain { fill: #f5f5f7; stroke: #80869a; }
.region { fill: none; stroke: #9aa0b4; stroke-dasharray: 5 4; }
.region-name { text-anchor: start; font-size: 11.5px; fill: #4c5162; }
.line { fill: none; stroke: #4c5162; stroke-width: 1.4; }
.head { fill: #4c5162; }
.back { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e7e9f2; }
  .small, .region-name { fill: #b3b8cc; }
  .label { fill: #aab6ff; stroke: #1e2129; }
  .box { fill: #2a3050; stroke: #8c9eff; }
  .store { fill: #21382a; stroke: #81c784; }
  .deny { fill: #45262a; stroke: #ef9a9a; }
  .plain { fill: #2b2e38; stroke: #9aa0b4; }
  .region { stroke: #6b7186; }
  .line { stroke: #b3b8cc; }
  .head { fill: #b3b8cc; }
  .back { fill: #1e2129; }
}
"""


def _frame(box: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, width and height. `at` is [column, row]; `span` is in cells."""
    column, row = box["at"]
    across, down = box.get("span", [1, 1])
    return (
        _MARGIN + column * _CELL,
        _MARGIN + row * _ROW,
        _WIDTH + (across - 1) * _CELL,
        _HEIGHT + (down - 1) * _ROW,
    )


def _box(box: dict[str, Any]) -> str:
    left, top, width, height = _frame(box)
    lines = [("title", box["text"]), *(("small", line) for line in box.get("notes", []))]
    widest = max(len(text) for _, text in lines)
    if widest * _LETTER > width or len(lines) * _LINE > height:
        raise ValueError(f"the text of box {box['text']!r} does not fit into it")
    first = top + height / 2 - (len(lines) - 1) * _LINE / 2 + 4.5
    texts = "".join(
        f'<text class="{kind}" x="{left + width / 2:g}" y="{first + number * _LINE:g}">{escape(text)}</text>'
        for number, (kind, text) in enumerate(lines)
    )
    shape = f'<rect class="box {box.get("kind", "")}" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="7"/>'
    return shape + texts


def _ends(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float, float]:
    """The ends of a line between two boxes: across where they share rows, else up or down, else by a corner."""
    left, top, width, height = _frame(one)
    left2, top2, width2, height2 = _frame(other)
    low, high = max(top, top2), min(top + height, top2 + height2)
    if low < high:
        middle = (low + high) / 2
        return (left + width, middle, left2, middle) if left < left2 else (left, middle, left2 + width2, middle)
    near, far = max(left, left2), min(left + width, left2 + width2)
    across = (near + far) / 2
    start = across if near < far else left + width / 2
    end = across if near < far else left2 + width2 / 2
    return (start, top + height, end, top2) if top < top2 else (start, top, end, top2 + height2)


def _line(line: dict[str, Any], boxes: dict[str, dict[str, Any]]) -> str:
    x1, y1, x2, y2 = _ends(boxes[line["from"]], boxes[line["to"]])
    start = ' marker-start="url(#head)"' if line.get("both") else ""
    path = f'<path class="line" d="M{x1:g} {y1:g} L{x2:g} {y2:g}" marker-end="url(#head)"{start}/>'
    if "label" not in line:
        return path
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    lift = -7 if abs(x2 - x1) > abs(y2 - y1) else 4
    return path + f'<text class="label" x="{x:g}" y="{y + lift:g}">{escape(line["label"])}</text>'


def _region(region: dict[str, Any]) -> str:
    left, top, width, height = _frame(region)
    return (
        f'<rect class="region" x="{left - 14:g}" y="{top - 22:g}" width="{width + 28:g}" height="{height + 34:g}" rx="9"/>'
        f'<text class="region-name" x="{left - 4:g}" y="{top - 8:g}">{escape(region["text"])}</text>'
    )


def draw(source: str) -> str:
    """The SVG of a source. Raises KeyError for a line to a box that is not there, and ValueError for a text that does not fit."""
    drawing = tomllib.loads(source)
    boxes: dict[str, dict[str, Any]] = drawing["box"]
    frames = [_frame(box) for box in (*boxes.values(), *drawing.get("region", []))]
    width = max(left + wide for left, _, wide, _ in frames) + _MARGIN
    height = max(top + tall for _, top, _, tall in frames) + _MARGIN
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
            ' role="img" aria-labelledby="title desc">'
        ),
        f'<title id="title">{escape(drawing["title"])}</title><desc id="desc">{escape(drawing["description"])}</desc>',
        f"<style>{_STYLE}</style>",
        (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto-start-reverse"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
        ),
        f'<rect class="back" width="{width:g}" height="{height:g}" rx="10"/>',
        *map(_region, drawing.get("region", [])),
        *(_line(line, boxes) for line in drawing.get("line", [])),
        *map(_box, boxes.values()),
        "</svg>\n",
    ]
    return "\n".join(parts)


def main() -> int:
    """The exit status."""
    check = sys.argv[1:] == ["--check"]
    stale = 0
    for source in sorted(DIAGRAMS.glob("*.toml")):
        picture, made = source.with_suffix(".svg"), draw(source.read_text("utf-8"))
        if picture.exists() and picture.read_text("utf-8") == made:
            continue
        stale += 1
        if not check:
            picture.write_text(made, "utf-8")
        print(f"diagrams: {picture.name} {'is not up to date: run `make docs-gen`' if check else 'written'}")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
