"""Reads text and JSON from a user's files and standard input. Every fault is one sentence that names the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from daypass.client.profiles import LocalStateError

_MAX_BYTES = 1024 * 1024
"""Characters of a file; no document that a server takes is so large."""


def name_of(file: TextIO) -> str:
    """How messages call a file."""
    name = getattr(file, "name", "<stdin>")
    return "standard input" if name == "<stdin>" else str(name)


def text_of(file: TextIO) -> str:
    """The content of an open file. Raises LocalStateError when it is not text, or too large."""
    try:
        text = file.read(_MAX_BYTES + 1)
    except UnicodeDecodeError:
        raise LocalStateError(f"{name_of(file)} is not UTF-8 text.") from None
    if len(text) > _MAX_BYTES:
        raise LocalStateError(f"{name_of(file)} is larger than 1 MiB.")
    return text


def text_at(path: str | Path) -> str:
    """The content of the file at a path; of standard input for "-". Raises LocalStateError, OSError."""
    if path == "-":
        return text_of(sys.stdin)
    with Path(path).open(encoding="utf-8") as file:
        return text_of(file)


def parsed(text: str, name: str) -> Any:
    """The JSON document in a text. Raises UsageError, which says that `name` is not JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{name} is not JSON: {error}.") from None
    except RecursionError:
        raise click.UsageError(f"{name} is nested too deeply.") from None
