"""Renders the result of an operation as its output: fields are copied by name from attributes or members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct, inspect

from daypass.api.operation import bare_type

_Render: TypeAlias = Callable[[Any], Any]


class Over:
    """An object with further attributes, or others in the place of its own."""

    __slots__ = ("_attributes", "_source")

    def __init__(self, source: object, **attributes: Any) -> None:
        self._source = source
        self._attributes = attributes

    def __getattr__(self, name: str) -> Any:
        """The attribute that was given, else that of the object."""
        return self._attributes[name] if name in self._attributes else getattr(self._source, name)


def shown(kind: type[Struct], source: Any) -> Any:
    """The members of an answer of this kind. `source`: an answer, which is returned as it is, a mapping, or an object with
    the attributes of the answer.
    """
    if isinstance(source, kind | msgspec.Raw):
        return source
    found = {}
    mapping = isinstance(source, Mapping)
    for name, origin, default, render in _fields(kind):
        if mapping:
            value = source.get(origin, default)
        else:
            value = getattr(source, origin) if default is msgspec.NODEFAULT else getattr(source, origin, default)
        if value is msgspec.NODEFAULT:
            raise KeyError(origin)
        if value is not msgspec.UNSET:
            found[name] = render(value) if render is not None else value
    return found


@lru_cache(maxsize=512)
def _fields(kind: type[Struct]) -> tuple[tuple[str, str, Any, _Render | None], ...]:
    found = []
    for field in inspect.type_info(kind).fields:  # type: ignore[attr-defined]  # of a struct
        bare, extra = bare_type(field.type)
        default = field.default
        if not field.required and default is msgspec.NODEFAULT:
            default = msgspec.UNSET
        found.append((field.name, str(extra.get("from", field.name)), default, _render_of(bare, extra)))
    return tuple(found)


def _render_of(bare: inspect.Type, extra: Mapping[str, Any]) -> _Render | None:
    """How a value of this type is rendered; None: as it is."""
    if extra.get("zero_is_null"):
        return lambda value: value or None
    if isinstance(bare, inspect.StructType):
        kind = bare.cls
        return lambda value: None if value is None else shown(kind, value)
    if isinstance(bare, inspect.ListType):
        item = _render_of(*bare_type(bare.item_type))
        return _each(item) if item is not None else None
    if isinstance(bare, inspect.StrType):
        return _text
    return None


def _each(render: _Render) -> _Render:
    def rendered(value: Sequence[Any] | None) -> Any:
        return None if value is None else [render(item) for item in value]

    return rendered


def _text(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
