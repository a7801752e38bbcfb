"""Token status lists: one bit for each session, 1 when the session was revoked.

Source: draft-ietf-oauth-status-list, sections 4 (compressed byte array) and 5 (status list token).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import msgspec

from daypass.domain.events import Event
from daypass.domain.jws import base64url

STATUSES: Final = 131_072
"""Statuses in one list: 16 KiB before compression."""
_BITS: Final = 8


def encode_statuses(revoked: Iterable[int], size: int) -> str:
    """The `lst` of a list with one bit for each status (section 4.2).

    Args:
        revoked: indexes with status 1 (INVALID). All others are 0 (VALID).
        size: how many statuses the list has.
    """
    data = bytearray(-(-size // _BITS))
    for index in revoked:
        data[index // _BITS] |= 1 << index % _BITS
    return base64url(zlib.compress(bytes(data), 9))


def split_index(index: int) -> tuple[int, int]:
    """The number of the list that holds a session's index, and the place in that list."""
    return divmod(index, STATUSES)


# --- Refusal


SOURCE_BYTES: Final = 384
"""Maximum bytes of JSON for each member of `source` in an anonymous refusal."""

DETAIL_BYTES: Final = 1024
"""Maximum bytes of JSON for the strings of `detail` in an anonymous refusal."""

_STRING_BYTES: Final = 192
_MEMBERS: Final = 20  # of a mapping or a list
_DEPTH: Final = 5
_MARK: Final = "..."


def brief(event: Event) -> Event:
    """The event with its source and detail shortened: at most 2,560 bytes when encoded. Truncated text ends in `...`."""
    source = {name: cut(str(text), SOURCE_BYTES) for name, text in event.source.items()}
    return msgspec.structs.replace(event, source=source, detail=_Shortener(DETAIL_BYTES).mapping(event.detail, _DEPTH))


def cut(text: str, most: int) -> str:
    """`text`, or a prefix of at most `most` bytes of JSON that ends in the mark."""
    if len(text) * 6 <= most or len(encode_basestring_ascii(text)) <= most:
        return text
    kept, size = [], 2 + len(_MARK)
    for character in text[:most]:
        size += len(encode_basestring_ascii(character)) - 2
        if size > most:
            break
        kept.append(character)
    return "".join(kept) + _MARK


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each string, number and boolean in a JSON value, with its path ("detail.parameters.RoleArn")."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, path)
    elif value is not None:
        yield path, str(value)


class _Shortener:
    """Copies a JSON value until its budget of bytes is used up."""

    def __init__(self, budget: int) -> None:
        self._left = budget

    def mapping(self, value: Mapping[str, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            if len(kept) >= _MEMBERS or self._left <= 0:
                kept[_MARK] = f"{len(value) - len(kept)} more"
                break
            kept[self._text(str(name))] = self._value(inner, depth - 1)
        return kept

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self.mapping(value, depth) if depth > 0 else _MARK
        if isinstance(value, list | tuple):
            return [self._value(inner, depth - 1) for inner in value[:_MEMBERS]] if depth > 0 else _MARK
        if isinstance(value, str):
            return self._text(value)
        self._left -= 8
        return value

    def _text(self, text: str) -> str:
        kept = cut(text, max(min(_STRING_BYTES, self._left), 2 + len(_MARK)))
        self._left -= len(encode_basestring_ascii(kept)) + 1
        return kept
