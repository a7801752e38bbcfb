"""Parses the JSON of a policy with the position of every value. Refuses what lenient parsers accept.

Duplicate keys, deep nesting, very long numbers and lone surrogates are errors. Numbers and booleans keep their
spelling, because a policy compares text. This module does not interpret policies.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

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
    start: int = 0
    end: int = 0

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


def listed(node: Node | None) -> list[Node]:
    """A value that may be a list, as a list; an absent one is the empty list."""
    if node is None:
        return []
    return node.items if node.kind is Kind.ARRAY else [node]


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


# --- Without positions: a document that was read before it was stored


def read_stored(text: str) -> Node:
    """As `read`, in a tenth of the time and without offsets. A text that may not be what `read` accepts is given to `read`."""
    if not text.isascii() or "\\" in text or len(text) > MAX_CHARACTERS:
        return read(text)
    try:
        return _node(_DECODE(text))
    except (_Bad, ValueError, RecursionError):
        return read(text)


def _node(value: Any) -> Node:
    if isinstance(value, str):
        return Node(Kind.STRING, value)
    if isinstance(value, list):
        return Node(Kind.ARRAY, [_node(item) for item in value])
    if value is None:
        return Node(Kind.NULL, "null")
    if isinstance(value, bool):
        return Node(Kind.BOOLEAN, "true" if value else "false")
    assert isinstance(value, Node)
    return value


def _object_of(pairs: list[tuple[str, Any]]) -> Node:
    members = {key: _node(value) for key, value in pairs}
    if len(members) != len(pairs):
        raise _Bad(0)
    return Node(Kind.OBJECT, members)


def _number(spelling: str) -> Node:
    if len(spelling) > MAX_NUMBER:
        raise _Bad(0)
    return Node(Kind.NUMBER, spelling)


def _no_constant(_: str) -> NoReturn:
    raise _Bad(0)


_DECODE: Final = json.JSONDecoder(
    object_pairs_hook=_object_of, parse_int=_number, parse_float=_number, parse_constant=_no_constant
).decode


# --- With positions


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


# --- The places of statements, which only explanations need


class PrincipalValue(NamedTuple):
    """A value of a Principal or NotPrincipal element. `type` is AWS, Federated, Service or CanonicalUser."""

    type: str
    value: str
    line: int
    column: int


class Place(NamedTuple):
    """The place of a statement in the text, and its principals."""

    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1
    principals: tuple[PrincipalValue, ...] = ()


def place_of(text: str, index: int) -> Place:
    """The place of a statement by its index; the beginning of a text that is no policy."""
    places = _places(text)
    return places[index] if index < len(places) else Place()


@lru_cache(maxsize=64)  # the statements of one policy are asked for one after the other
def _places(text: str) -> tuple[Place, ...]:
    try:
        root = read(text)
    except PolicyError:
        return ()
    at = Positions(text).at
    statements = listed(root.members.get("Statement")) if root.kind is Kind.OBJECT else []
    return tuple(Place(*at(node.start), *at(node.end), tuple(_principals(node, at))) for node in statements)


def _principals(statement: Node, at: Callable[[int], tuple[int, int]]) -> Iterator[PrincipalValue]:
    if statement.kind is not Kind.OBJECT:
        return
    node = statement.members.get("Principal", statement.members.get("NotPrincipal"))
    if node is not None and node.kind is Kind.STRING:
        yield PrincipalValue("AWS", node.text, *at(node.start))
    elif node is not None and node.kind is Kind.OBJECT:
        for kind, values in node.members.items():
            for value in listed(values):
                yield PrincipalValue(kind, value.text, *at(value.start))


# --- Positions of characters, for the matcher


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
