"""Parses request bodies for wires without their own parser: JSON with only one interpretation.

It refuses input that two parsers might read differently, and decides nothing about the meaning of a value.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import MAX_VALUES, read_json
from daypass.wire.http import Header, media_type


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


# --- Reads forms and query strings: `application/x-www-form-urlencoded`, strictly and in bounded number


MEDIA_TYPE: Final = b"application/x-www-form-urlencoded"
_QUOTED: Final = bytes.maketrans(b"%+", b"= ")


def check_media_type(headers: Sequence[Header]) -> None:
    """Raises DaypassError(MALFORMED_REQUEST) unless the body is a form."""
    if media_type(headers) != MEDIA_TYPE:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"The media type of the body must be {MEDIA_TYPE.decode()}.")


def decoded(data: bytes) -> str:
    """The text of a name or value. Raises ValueError: a "%" that no two hexadecimal digits follow, no UTF-8.

    Everybody chooses how many escapes there are, and in Python each costs 0.1 us or more (attack A227). So they become those
    of quoted-printable, which are decoded in C. Only a good one is two bytes shorter then.
    """
    if b"%" not in data:
        return data.replace(b"+", b" ").decode()
    for special, escaped in ((b"=", b"%3D"), (b"\r", b"%0D"), (b"\n", b"%0A")):  # they mean something else there
        data = data.replace(special, escaped)
    quoted = data.translate(_QUOTED)
    made = binascii.a2b_qp(quoted)
    if len(made) != len(quoted) - 2 * quoted.count(b"="):
        raise ValueError("a '%' that no two hexadecimal digits follow")
    return made.decode()


def pairs_of(data: bytes, most: int, *, strict: bool = False) -> list[tuple[str, str]]:
    """Names and values in their order. `most`: their number. `strict`: a part without "=" is an error.

    Raises DaypassError(MALFORMED_REQUEST).
    """
    try:
        return _usual_pairs(data.decode("ascii"), most) or _escaped_pairs(data, most, strict=strict)
    except ValueError:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The parameters are not well-formed.") from None


def _usual_pairs(text: str, most: int) -> list[tuple[str, str]]:
    """The pairs of a form whose only escapes are those common in URNs and URLs, as of most requests. [] for any other form,
    which is then parsed with its escapes.
    """
    text = text.replace("%3A", ":").replace("%2F", "/")
    if "%" in text or "+" in text or text.count("&") >= most:
        return []
    pairs = [(name, value) for name, equals, value in [part.partition("=") for part in text.split("&")] if equals]
    return pairs if len(pairs) == text.count("&") + 1 else []


def _escaped_pairs(data: bytes, most: int, *, strict: bool) -> list[tuple[str, str]]:
    if data.count(b"&") >= most:
        raise ValueError("too many parameters")
    pairs = [part.partition(b"=") for part in data.split(b"&") if part or (strict and data)]
    if strict and not all(equals for _, equals, _ in pairs):
        raise ValueError("a parameter without a value")
    return [(decoded(name), decoded(value)) for name, _, value in pairs]


def unique(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The values by name. Raises DaypassError(MALFORMED_REQUEST) when a name is given twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "A parameter is given twice.")
    return fields


# --- Cursors of lists, as text: the position at which a page ended


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
