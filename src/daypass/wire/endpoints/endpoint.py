"""An operation of `daypass.api` with the function that performs it, its input, and its rendered output."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct, inspect

from daypass.api.operation import Input, Operation, bare_type
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Call, Env

Perform: TypeAlias = Callable[[Env, Call, Any], Awaitable[Any]]
"""Performs an operation with its input. It returns the answer, or what has the attributes of the answer; of a list, the
items, or the items and the cursor of the next page.
"""


class Endpoint(NamedTuple):
    """An operation and the function that performs it."""

    operation: Operation
    perform: Perform


def fields_of(given: Input, *without: str) -> dict[str, Any]:
    """The fields of an input except `without`, for an operation whose parameters have the same names. Lists become tuples."""
    found = {name: getattr(given, name) for name in given.__struct_fields__ if name not in without}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def calls(
    function: Callable[..., Awaitable[Any]], answer: Callable[[Any], Any] = lambda result: result, **names: str
) -> Perform:
    """Performs an operation by a function whose parameters are the fields of its input. `answer`: makes the answer from the
    result. `names`: of fields, by parameter, where they differ.
    """
    parameters = {field: parameter for parameter, field in names.items()}

    async def perform(env: Env, call: Call, given: Input) -> Any:
        fields = {parameters.get(name, name): value for name, value in fields_of(given).items()}
        return answer(await function(env, call, **fields))

    return perform


def items_as(answer: Callable[[Any], Any]) -> Callable[[tuple[Sequence[Any], str]], Any]:
    """Makes the answer of a list, page by page, from each of its items."""
    return lambda page: ([answer(item) for item in page[0]], page[1])


def read_text(kind: inspect.Type, where: str, text: str) -> Any:
    """The value of a text in a path, a query or a form. Raises DaypassError(VALIDATION). `where`: of the text."""
    if isinstance(kind, inspect.BoolType):
        if text not in ("true", "false", "1", "0", "yes"):
            raise invalid(where, "true or false is needed")
        return text in ("true", "1", "yes")
    if isinstance(kind, inspect.IntType):
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
            raise invalid(where, "a whole number is needed")
        return int(text)
    return text


def make_input(operation: Operation, values: Mapping[str, Any]) -> Any:
    """The input with these fields. Raises DaypassError(VALIDATION), which names the field and its rule and does not repeat
    its value.
    """
    try:
        return msgspec.convert(values, operation.input)  # noqa: TID251  # described by `endpoints`
    except msgspec.ValidationError as error:
        raise invalid(*_fault(operation, str(error))) from None


def _fault(operation: Operation, message: str) -> tuple[str, str]:
    """The place of the fault, and the rule. msgspec repeats an invalid value of an enumeration."""
    rule, _, path = message.partition(" - at `$")
    where = path.strip(".`")
    first = where.partition(".")[0].partition("[")[0]
    if rule.startswith("Invalid enum value"):
        options = operation.parts[first].schema.get("enum") if first in operation.parts and first == where else None
        rule = f"it must be one of: {', '.join(map(str, options))}" if options else "it has an unknown value"
    else:
        rule = _in_words(rule)
    place = operation.parts[first].place if first in operation.parts else "body"
    return (f"{place}.{where}" if where else place)[:256], rule


_KINDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
          "object": "an object", "null": "null"}  # fmt: skip
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"Object contains unknown field .*", "it has an unknown member"),
        (r"Object missing required field `(.*)`", "{0} is missing"),
        (r"Expected `str` matching regex (.*)", "it must match {0}"),
        (r"Expected `(?:int|float)` <= (.*)", "it must be at most {0}"),
        (r"Expected `(?:int|float)` >= (.*)", "it must be at least {0}"),
        (r"Expected `(?:int|float)` > (.*)", "it must be above {0}"),
        (r"Expected `str` of length <= (.*)", "it must have at most {0} characters"),
        (r"Expected `str` of length >= (.*)", "it must have at least {0} characters"),
        (r"Expected `(?:array|object)` of length <= (.*)", "it must have at most {0} members"),
        (r"Expected `(?:array|object)` of length >= (.*)", "it must have at least {0} members"),
    )
)
"""What msgspec says of a fault, and what a caller reads."""
_WANTED = re.compile(r"Expected `([a-z |]+)`, got `[a-z]+`")


def _in_words(rule: str) -> str:
    """A rule of msgspec in plain words; another one as it is."""
    for pattern, words in _RULES:
        if found := pattern.fullmatch(rule):
            return words.format(*found.groups())
    if (wanted := _WANTED.fullmatch(rule)) and set(kinds := wanted[1].split(" | ")) <= _KINDS.keys():
        return f"it must be {' or '.join(_KINDS[each] for each in kinds)}"
    return rule


def invalid(where: str, rule: str) -> DaypassError:
    """A fault of a request: where it is, and the rule."""
    return DaypassError(ErrorKind.VALIDATION, f"{where}: {rule}"[:1024])


# --- Shown


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
