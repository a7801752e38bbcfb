"""What commands print: tables for people, JSON for tools. What a server sent is never printed raw to a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def safe(value: object) -> str:
    """Text with control characters (ANSI escapes, line ends) and bidirectional marks made visible (A99)."""
    text = str(value)
    if text.isprintable() and not _BIDI & set(text):
        return text
    return "".join(c if c.isprintable() and c not in _BIDI else f"\\u{ord(c):04x}" for c in text)


def data(value: Any) -> None:
    """Prints JSON; ASCII only, so nothing in it can act on a terminal."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints columns as wide as they must be; the last one may be long."""
    cells = [[safe("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max([len(h), *(len(row[i]) for row in cells)]) for i, h in enumerate(headings)]
    lines = [list(headings), *cells]
    for row in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def fields(pairs: Mapping[str, object]) -> None:
    """Prints one thing's fields, a line each; empty ones are left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name.ljust(width)}  {safe(value)}")


def moment(ms: int | None) -> str:
    """A time for people, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000)) if ms else ""
