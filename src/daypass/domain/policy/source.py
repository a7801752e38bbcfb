"""Parses the JSON of a policy with the position of every value. Refuses what lenient parsers accept.

Duplicate keys, deep nesting, very long numbers and lone surrogates are errors. Numbers and booleans keep their
spelling, because a policy compares text. This module does not interpret policies.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from msgspec import Struct

MAX_CHARACTERS = 196_608  # the longest of AWS's own has 152,297
"""Maximum length of a document. AWS's smaller limits for each kind belong to the operations."""

MAX_DEPTH = 16
"""Maximum nesting depth. The grammar of policies needs seven levels."""

MAX_NUMBER = 64
"""Maximum number of characters of a number."""


class PolicyError(ValueError):
    """A document that is not a policy, with AWS's message (MalformedPolicyDocument) and the position of the error.

    `why` says what is wrong where AWS's message does not; "" where it does. The wire has AWS's message alone.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1, why: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.why = why


class Kind(StrEnum):
    """The type of a JSON value."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NULL = "null"
    ARRAY = "array"
    OBJECT = "object"


Content: TypeAlias = "str | list[Node] | dict[str, Node]"


class Node(Struct, frozen=True):
    """A value from `start` to before `end` (offsets). `text` for scalars, `items` for arrays, `members` for objects."""

    kind: Kind
    content: Content
    start: int
    end: int

    @property
    def text(self) -> str:
        """A scalar's text: the value of a string, the spelling of anything else."""
        assert isinstance(self.content, str)
        return self.content

    @property
    def items(self) -> list[Node]:
        assert isinstance(self.content, list)
        return self.content

    @property
    def members(self) -> dict[str, Node]:
        assert isinstance(self.content, dict)
        return self.content


class Positions:
    """Converts offsets to lines and columns, both from 1."""

    __slots__ = ("_starts",)

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'"([^"\\\x00-\x1f]*)"')
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Bad(Exception):
    """Text that is not JSON, or not in the accepted subset of JSON; carries the offset."""


def read(text: str) -> Node:
    """The document's value. Raises PolicyError("Syntax errors in policy.") with the position of the first error."""
    try:
        if len(text) > MAX_CHARACTERS:
            raise _Bad(MAX_CHARACTERS)
        node = _value(text, _skip(text, 0), 0)
        end = _skip(text, node.end)
        if end != len(text):
            raise _Bad(end)
    except _Bad as bad:
        position = Positions(text[:MAX_CHARACTERS]).at(bad.args[0])
        why = "Here the text is not JSON, repeats a name, or is too large."
        raise PolicyError("Syntax errors in policy.", *position, why) from None
    return node


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _value(text: str, at: int, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise _Bad(at)
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at)
    if first == "{":
        return _object(text, at, depth)
    if first == "[":
        return _array(text, at, depth)
    return _scalar(text, at)


def _string(text: str, at: int) -> Node:
    match = _PLAIN.match(text, at)
    if match is not None:
        value = match[1]
    else:
        match = _QUOTED.match(text, at)
        if match is None:
            raise _Bad(at)
        value = json.loads(match[0])
    if _SURROGATE.search(value):
        raise _Bad(at)
    return Node(Kind.STRING, value, at, match.end())


def _scalar(text: str, at: int) -> Node:
    match = _WORD.match(text, at)
    if match is not None:
        kind = Kind.NULL if match[0] == "null" else Kind.BOOLEAN
        return Node(kind, match[0], at, match.end())
    match = _NUMBER.match(text, at)
    if match is None or len(match[0]) > MAX_NUMBER:
        raise _Bad(at)
    return Node(Kind.NUMBER, match[0], at, match.end())


def _array(text: str, at: int, depth: int) -> Node:
    items: list[Node] = []
    cursor = _skip(text, at + 1)
    if text[cursor : cursor + 1] == "]":
        return Node(Kind.ARRAY, items, at, cursor + 1)
    while True:
        item = _value(text, cursor, depth + 1)
        items.append(item)
        cursor = _skip(text, item.end)
        mark = text[cursor : cursor + 1]
        if mark == "]":
            return Node(Kind.ARRAY, items, at, cursor + 1)
        if mark != ",":
            raise _Bad(cursor)
        cursor = _skip(text, cursor + 1)


def _object(text: str, at: int, depth: int) -> Node:
    members: dict[str, Node] = {}
    cursor = _skip(text, at + 1)
    if text[cursor : cursor + 1] == "}":
        return Node(Kind.OBJECT, members, at, cursor + 1)
    while True:
        cursor = _member(text, cursor, depth, members)
        mark = text[cursor : cursor + 1]
        if mark == "}":
            return Node(Kind.OBJECT, members, at, cursor + 1)
        if mark != ",":
            raise _Bad(cursor)
        cursor = _skip(text, cursor + 1)


def _member(text: str, at: int, depth: int, members: dict[str, Node]) -> int:
    """Parses `"key": value` into `members`. Returns the offset after it."""
    if text[at : at + 1] != '"':
        raise _Bad(at)
    key = _string(text, at)
    cursor = _skip(text, key.end)
    if text[cursor : cursor + 1] != ":" or key.text in members:  # a later duplicate would hide the earlier value
        raise _Bad(at)
    value = _value(text, _skip(text, cursor + 1), depth + 1)
    members[key.text] = value
    return _skip(text, value.end)


# --- Positions


class CharacterPositions:
    """The masks of one text, computed on demand."""

    __slots__ = ("_masks", "_planes", "_size")

    def __init__(self, text: str) -> None:
        self._size = len(text)
        self._masks: dict[str, int] = {}
        try:
            self._planes = (text.encode("latin-1")[::-1],)
        except UnicodeEncodeError:  # three bytes are enough for every code point
            raw = text.encode("utf-32-le", "surrogatepass")
            self._planes = (raw[0::4][::-1], raw[1::4][::-1], raw[2::4][::-1])  # type: ignore[assignment]  # one plane or three

    def of(self, char: str) -> int:
        """The positions of a character."""
        mask = self._masks.get(char)
        if mask is None:
            mask = self._masks[char] = self._scan(ord(char))
        return mask

    def _scan(self, code: int) -> int:
        found = (1 << self._size) - 1
        for plane in self._planes:
            if not found:
                return 0
            code, byte = divmod(code, 256)
            found &= int(plane.translate(_ONES[byte]), 2)
        return found if not code else 0

    def first(self, pieces: Iterable[tuple[int, str]], start: int, stop: int) -> int:
        """The first position in start..stop at which each piece matches at its offset; -1 when there is none."""
        found = -1
        for offset, piece in pieces:
            for index, char in enumerate(piece, start + offset):
                found &= self.of(char) >> index
                if not found:
                    return -1
        place = start + (found & -found).bit_length() - 1
        return place if place <= stop else -1


_ONES = tuple(b"0" * byte + b"1" + b"0" * (255 - byte) for byte in range(256))
"""For each byte, the table that maps it to the digit 1 and all others to 0."""


@lru_cache(maxsize=4)  # the patterns of one decision are matched with the same few texts
def positions_of(text: str) -> CharacterPositions:
    return CharacterPositions(text)
