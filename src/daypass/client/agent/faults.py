"""Faults of the agent's configuration in plain words: the key with its path, the fault, and the expected value.

It must never import the server, nor print a value that may be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

_PLAIN: Mapping[type, tuple[tuple[type, ...], str, str]] = {
    str: ((str,), "text in quotes", "texts in quotes"),
    int: ((int,), "a whole number", "whole numbers"),
    float: ((int, float), "a number", "numbers"),
}
"""The TOML types of a setting's type, and what a reader calls one and several of them."""


def faults_of(value: object, kind: Any, place: str = "") -> Iterator[str]:
    """What is wrong with a decoded TOML value as a setting of this type, one line for each fault."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        yield from faults_of(value, next(each for each in arguments if each is not NoneType), place)
    elif origin is Literal:
        if value not in arguments:
            yield f"{place}: {_shown(value)} is not one of {', '.join(arguments)}"
    elif origin is dict:
        yield from _faults_of_tables(value, arguments[1], place)
    elif origin is tuple:
        yield from _faults_of_list(value, arguments[0], place)
    elif issubclass(kind, Struct):
        yield from _faults_of_table(value, kind, place)
    elif not isinstance(value, _PLAIN[kind][0]) or isinstance(value, bool):
        yield f"{place}: {_shown(value)} is not {_PLAIN[kind][1]}"


def _faults_of_tables(value: object, kind: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: it must be tables, [{place}.NAME]"
        return
    for name, each in value.items():
        yield from faults_of(each, kind, f"{place}.{name}")


def _faults_of_list(value: object, kind: Any, place: str) -> Iterator[str]:
    plain = _PLAIN.get(kind)
    if not isinstance(value, list):
        yield f"{place}: {_shown(value)} is not a list of {plain[2]}" if plain else f"{place}: write [[{place}]]"
        return
    for number, each in enumerate(value, 1):
        yield from faults_of(each, kind, f"{place}, entry {number}" if plain else f"{place} {number}")


def _faults_of_table(value: object, kind: type[Struct], place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: it must be a table, [{place}]"
        return
    hints = get_type_hints(kind)
    begin = f"{place}." if place else ""
    for name, each in value.items():
        if name in hints:
            yield from faults_of(each, hints[name], f"{begin}{name}")
        else:
            yield f"{begin}{name}: there is no such key{_nearest(name, list(hints))}"
    for each in fields(kind):
        if each.required and each.name not in value:
            yield f"{begin}{each.name}: it is missing"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f". Did you mean {near[0]}?" if near else f"; the keys here are {', '.join(known)}"


def _shown(value: object) -> str:
    """A short value as TOML writes it; of others the type alone."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float) and len(str(value)) <= 60:
        return f'"{value}"' if isinstance(value, str) else str(value)
    return {"dict": "a table", "list": "a list", "str": "this text"}.get(type(value).__name__, "this value")
