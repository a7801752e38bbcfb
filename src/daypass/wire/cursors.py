"""Cursors of lists, as text: the position at which a page ended. They carry no authority."""

from __future__ import annotations

from daypass.domain.errors import DaypassError, ErrorKind


def cursor(*parts: int | str) -> str:
    """The text of a position."""
    return ".".join(map(str, parts))


def session_cursor(text: str) -> tuple[int, str] | None:
    """(issued_at, session id); None for "". Raises DaypassError(VALIDATION)."""
    if not text:
        return None
    at, _, session_id = text.partition(".")
    return _number(at), session_id


def record_cursor(text: str) -> tuple[int, str, int] | None:
    """(at, log, seq); None for "". Raises DaypassError(VALIDATION)."""
    if not text:
        return None
    parts = text.split(".")
    if len(parts) != 3:
        raise _bad()
    return _number(parts[0]), parts[1], _number(parts[2])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _bad()
    return int(text)


def _bad() -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, "`after` is not the `next` of a page of this list.")
