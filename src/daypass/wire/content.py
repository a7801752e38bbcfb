"""Parses request bodies for wires without their own parser: JSON with only one interpretation.

It refuses input that two parsers might read differently, and decides nothing about the meaning of a value.
"""

from __future__ import annotations

from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import MAX_VALUES, read_json


def json_of(body: bytes, most: int = MAX_VALUES) -> Any:
    """The value of a JSON text; None for an empty body.

    Raises DaypassError(MALFORMED_REQUEST): duplicate members, NaN, other encodings than UTF-8, too deep nesting, more than
    `most` values.
    """
    if not body:
        return None
    try:
        return read_json(body, most)
    except ValueError:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The request body is not well-formed JSON.") from None


def json_object_of(body: bytes) -> dict[str, Any]:
    """The members of a JSON object; {} for an empty body or null. Raises DaypassError(MALFORMED_REQUEST)."""
    content = json_of(body)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The request body is not a JSON object.")
    return content
