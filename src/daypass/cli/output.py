"""What commands print: tables for people, JSON for tools. What a server sent is never printed raw to a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import click

from daypass.client.profiles import LocalStateError


def safe(value: object) -> str:
    """Text with control characters (ANSI escapes, line ends) and bidirectional marks made visible (A99)."""
    text = str(value)
    if text.isprintable():  # which neither control characters nor bidirectional marks are
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def data(value: Any) -> None:
    """Prints JSON; ASCII only, so nothing in it can act on a terminal."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def line(value: Any) -> None:
    """Prints JSON on a line of its own, for streams."""
    click.echo(json.dumps(value, separators=(",", ":"), ensure_ascii=True))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints columns as wide as they must be; the last one may be long."""
    cells = [[safe("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max([len(h), *(len(row[i]) for row in cells)]) for i, h in enumerate(headings)]
    lines = [list(headings), *cells]
    for row in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def fields(pairs: Mapping[str, object]) -> None:
    """Prints one thing's fields, a line each; empty ones are left out."""
    shown = {safe(name): value for name, value in pairs.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name.ljust(width)}  {safe(value)}")


def moment(ms: int | None) -> str:
    """A time for people, UTC; "" for none."""
    if not ms:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000))
    except (ValueError, OverflowError, OSError, TypeError):  # no time at all, though the server says so
        return safe(ms)


def read_text(file: TextIO) -> str:
    """What a user's file, or standard input, holds. Raises LocalStateError when it is not text."""
    try:
        return file.read()
    except UnicodeDecodeError:
        raise LocalStateError(f"{file.name} is not UTF-8 text.") from None
