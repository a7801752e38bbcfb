"""Parses untrusted JSON strictly: text that two parsers might read differently is refused.

It refuses duplicate members, NaN and Infinity, lone surrogates, any encoding but UTF-8, deep nesting, and more values than
any request needs. It does not interpret the text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

S = TypeVar("S", bound=Struct)
V = TypeVar("V")

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 32_768
"""Commas and opening brackets of a text, those in strings too: as many as take about 15 ms to parse (attack A227)."""
_SHORT: Final = 8_192  # characters of settings
_MAX_DIGITS: Final = 40  # of a number: more than any claim needs, few enough to be harmless


def read_json(raw: bytes | str, most: int = MAX_VALUES) -> Any:
    """The value of a JSON text: fractions as Decimal, otherwise the types of `json`. `most`: members and items of it, at all
    depths. Raises ValueError with the reason.
    """
    text = raw if isinstance(raw, str) else _decoded(raw)
    opening = text.count("{") + text.count("[")
    values = text.count(",") + opening
    if values > MAX_VALUES:
        raise ValueError("it has too many values")
    try:
        value = _parse(text)
        small = values <= most and opening <= MAX_DEPTH  # with fewer brackets no value can be nested deeper
        if not small and isinstance(value, (dict, list)) and _count(value, MAX_DEPTH) > most:
            raise ValueError("it has too many values")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from None
    if "\\u" in text:
        _check_surrogates(value)
    return value


def struct_reader(kind: type[S]) -> Callable[[bytes | str], S]:
    """Returns a function that reads a struct from strict JSON. It raises ValueError; msgspec.ValidationError, which is one,
    names the member that is not valid.

    Call it when a module is imported. The process crashes when two threads use a struct at the same time and msgspec has not
    described its members before; making a decoder describes them.
    """
    msgspec.json.Decoder(kind)
    return lambda raw: msgspec.convert(read_json(raw), kind)  # noqa: TID251  # described above


def settings_reader(kind: type[S], most: int) -> Callable[[str], S]:
    """Returns a function that reads a struct of settings from at most `most` characters. It raises ValueError for people."""
    read = struct_reader(kind)

    def settings(text: str) -> S:
        if len(text) > most:
            raise ValueError("The settings are too long.")
        try:
            return read(text)
        except msgspec.ValidationError as error:
            raise ValueError(f"The settings are not valid: {error}.") from None
        except ValueError as error:
            raise ValueError(f"The settings cannot be read: {error}.") from None

    return settings


def cached_by_size(make: Callable[[str], V]) -> Callable[[str], V]:
    """Decorates a function of the text of settings, which it caches: many short texts, few long ones. An account can change
    the longest settings again and again (attack A320).
    """
    short, long = (lru_cache(maxsize=most)(make) for most in (2_048, 64))

    @wraps(make)
    def cached(text: str) -> V:
        return short(text) if len(text) <= _SHORT else long(text)

    return cached


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError(f"the member {_first_duplicate(pairs)[:64]!r} is given twice")
    return members


def _first_duplicate(pairs: list[tuple[str, Any]]) -> str:
    """The first duplicate name. One pass, because the sender chooses the number of members."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("a number is too long")
    return int(digits)


def _fraction(digits: str) -> Decimal:
    number = Decimal(digits) if len(digits) <= _MAX_DIGITS else None
    if number is None or not -_MAX_DIGITS <= number.adjusted() <= _MAX_DIGITS:
        raise ValueError("a number is too long")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


_parse: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_fraction, parse_constant=_no_constant
).decode
"""Made once: `json.loads` makes a decoder for each text, which takes as long as reading a small one."""


def _count(value: dict[str, Any] | list[Any], left: int) -> int:
    """The number of members and items, at most `left` deep."""
    if left == 0:
        raise ValueError("it is nested too deeply")
    count = len(value)
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            count += _count(item, left - 1)
    return count


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a string has half a surrogate pair") from None
