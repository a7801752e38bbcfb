"""Runbooks, and help about errors, as HTML that tools/gen_docs.py makes: a server shows it, and `daypass monitoring` copies it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

RUNBOOKS: Final = "runbooks"
ERRORS: Final = "errors"
COPY: Final = "runbooks.html"
_LINK: Final = 'href="/help/runbooks/'


@cache
def pages() -> Mapping[str, Mapping[str, str]]:
    """HTML by name: of an alert below RUNBOOKS, of a code or kind of error below ERRORS. It is read once, for a thread."""
    found: dict[str, dict[str, str]] = json.loads((files(__package__) / "help.json").read_text("utf-8"))
    return found


def copy_of_runbooks() -> str:
    """All runbooks in one file, for when no server answers. The address of each ends with `#` and the alert."""
    sections = (f'<h2 id="{name}">{name}</h2>\n{text}' for name, text in pages()[RUNBOOKS].items())
    body = "\n".join(sections).replace(_LINK, 'href="#')
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Daypass: runbooks</title>\n{body}\n</html>\n'
