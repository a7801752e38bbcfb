"""An operation of the management API, described once.

The route with its OpenAPI schema, the command, the reference page, the list of actions and the console's forms follow from
the description. A description never contains behavior: `wire.endpoints` names the function that performs each operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, inspect

MAX_MS: Final = 2**53 - 1
_PLACE: Final = re.compile(r"\{(\w+)(:path)?\}")
_ACCOUNT: Final = r"^([0-9]{12}|\*)?$"


class Input(Struct, forbid_unknown_fields=True):
    """The input of an operation. `Meta(extra={"secret": True})` marks a secret field, `{"pick": "user"}` one that the console
    completes.
    """


class Output(Struct):
    """The output of an operation. `Meta(extra={"from": "event_types"})` names the attribute of the result, if it has another
    name than the field.
    """


Account = Annotated[
    str, Meta(pattern=_ACCOUNT, description="Account id; empty: your own; `*`: every one (operator only).")
]
AccountId = Annotated[str, Meta(pattern=r"^[0-9]{12}$")]
Id = Annotated[str, Meta(max_length=128)]
After = Annotated[str, Meta(max_length=128, description="`next` of the page before.")]
Limit = Annotated[int, Meta(ge=1, le=1000, description="Items in one page, at most.")]
Millis = Annotated[int, Meta(ge=0, le=MAX_MS, description="Milliseconds since the epoch, UTC.")]
OptionalMillis = Annotated[int | None, Meta(extra={"zero_is_null": True})]
"""A time in an answer; null while it has not come. Entities store 0."""
Members = Annotated[dict[str, Any], Meta(max_length=64)]


class InAccount(Input, kw_only=True):
    """The input of an operation on resources of an account."""

    account: Account = ""


class PageInput(Input, kw_only=True):
    """The input of an operation that lists, page by page."""

    after: After = ""
    limit: Limit = 100


class OnePage(InAccount, kw_only=True):
    """The same of an account."""

    after: After = ""
    limit: Limit = 100


class Empty(Input):
    """No input."""


@dataclass(frozen=True, slots=True)
class Command:
    """How the command line offers an operation.

    Attributes:
        usage: words of the command, then its arguments: fields of the input in upper case. The other fields are options.
        columns: of a list, as "HEADING=field", or "FIELD" where both are the same.
        says: lines about the result, with fields of input and output in braces. None: the fields of the output. A line whose
        fields are all empty is left out.
        prints: the member of the output that is printed alone, as text.
        noun: what the first argument names, in the JSON result of an operation without output and in a change that is shown.
        outcome: of an operation without output, in its JSON result. empty: what an empty list says.
        confirm: the question before it; "": none. why: why it asks.
        replaces: the operation that returns what this one replaces. The command shows the difference and asks.
        options: the names of options that differ from the fields' names. flags: options that set a field to a value.
        help: the rest of the command's help.
    """

    usage: str
    summary: str = ""
    columns: Sequence[str] = ()
    says: Sequence[str] | None = None
    prints: str = ""
    noun: str = ""
    outcome: str = "deleted"
    empty: str = ""
    confirm: str = ""
    why: str = "this cannot be undone"
    replaces: Operation | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, Any, str]] = field(default_factory=dict)
    help: str = ""


class InputField(Struct, frozen=True):
    """A field of the input: where a request has it, and its type."""

    name: str
    place: str  # path, query or body
    type: inspect.Type
    required: bool
    default: Any
    schema: Mapping[str, Any]
    extra: Mapping[str, Any]


@dataclass(frozen=True, eq=False)  # without slots, for the cached properties; each is one of its kind
class Operation:
    """One operation.

    Attributes:
        name: also the name of its action, `daypass:NAME`.
        route: method and path below `/api/v1`. The fields in braces are in the path. The others are in the query of a GET or
        DELETE, else in the body, except those in `query`.
        summary: what it does, in whole sentences.
        output: the response, or each element of its `items`. None: the response has no body.
        items: the member of the response that holds the list; "" without a list. paged: the response has `next`.
        resource: the resource that policies see, as KIND/NAME.
        status: of the answer.
        command: how the command line offers it; None: by hand, or not at all.
        unique: the `operationId`, if several operations share a name.
        input: without the fields of the path that are an `Id`.
        section: the part of the reference in which it stands.
    """

    name: str
    route: str
    summary: str
    input: type[Input] = Empty
    output: type[Output] | None = None
    items: str = ""
    paged: bool = False
    resource: str = ""
    status: int = 200
    query: tuple[str, ...] = ("account",)
    command: Command | None = None
    unique: str = ""
    section: str = ""

    def __post_init__(self) -> None:
        """Adds the fields of the path that the input lacks."""
        names = [name for name, _ in _PLACE.findall(self.route) if name not in self.input.__struct_fields__]
        if names:
            fields: list[tuple[str, Any]] = [(name, Id) for name in names]
            whole = msgspec.defstruct(f"{self.operation_id}Input", fields, bases=(self.input,), kw_only=True)
            object.__setattr__(self, "input", whole)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path below `/api/v1`, with the names of fields in braces."""
        return _PLACE.sub(r"{\1}", self.route.partition(" ")[2])

    @property
    def operation_id(self) -> str:
        """Unique among all operations."""
        return self.unique or self.name

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern that matches its path, percent-encoded. A field `{name:path}` may contain slashes."""
        path = self.route.partition(" ")[2]
        parts = _PLACE.split(path)
        texts, names, deep = parts[::3], parts[1::3], parts[2::3]
        groups = [f"(?P<{name}>{'.+' if more else '[^/]+'})" for name, more in zip(names, deep, strict=True)]
        fixed = [re.escape(text) for text in texts]
        return re.compile("".join(a + b for a, b in zip(fixed, [*groups, ""], strict=True)))

    @cached_property
    def parts(self) -> Mapping[str, InputField]:
        """The fields of the input, in their order."""
        in_path = {name for name, _ in _PLACE.findall(self.route)}
        read = self.method in ("GET", "DELETE")
        properties = schema_of(self.input)["properties"]
        found = {}
        for member in inspect.type_info(self.input).fields:  # type: ignore[attr-defined]  # of a struct
            name = member.name
            place = "path" if name in in_path else "query" if read or name in self.query else "body"
            bare, extra = bare_type(member.type)
            default = None if member.required else member.default
            if default is msgspec.NODEFAULT or (default is None and not member.required):
                default = member.default_factory() if member.default_factory is not msgspec.NODEFAULT else None
            found[name] = InputField(name, place, bare, member.required, default, properties[name], extra)
        return found

    def placed(self, place: str) -> Iterator[InputField]:
        """The fields of one place."""
        return (part for part in self.parts.values() if part.place == place)

    @cached_property
    def answer(self) -> type[Struct] | None:
        """The struct of the whole answer."""
        if not self.items or self.output is None:
            return self.output
        following = Annotated[str, Meta(description="`after` of the next page; empty at the end.")]
        more: list[Any] = [("next", following, "")] if self.paged else []
        members: list[Any] = [(self.items, list[self.output]), *more]  # type: ignore[name-defined]  # mypy takes it for an annotation
        return msgspec.defstruct(f"{self.operation_id}Out", members, kw_only=True)


@dataclass(frozen=True)
class ResourcePages:
    """How the console shows a resource: a list and, if there is `show`, a page for each.

    Attributes:
        path: of the list. one: of the page of one.
        title: of the list. noun: one of them, "client".
        list: the operation that lists; its command names the columns. key: the field that identifies one.
        show, create, change, remove: operations; None: there is none.
        actions: further operations on one, as buttons and forms.
        empty: what an empty list says.
        example: the JSON that a new form begins with, by field.
    """

    path: str
    title: str
    noun: str
    list: Operation
    key: str
    empty: tuple[str, str]
    one: str = ""
    show: Operation | None = None
    create: Operation | None = None
    change: Operation | None = None
    remove: Operation | None = None
    actions: tuple[Operation, ...] = ()
    example: Mapping[str, str] | None = None

    @property
    def buttons_in_rows(self) -> bool:
        """Whether the list has a column of buttons: there is something to do, and no page for each."""
        return self.show is None and (self.remove is not None or bool(self.actions))


def bare_type(found: inspect.Type) -> tuple[inspect.Type, Mapping[str, Any]]:
    """A type without its metadata, and the `extra` of the metadata."""
    extra: dict[str, Any] = {}
    while isinstance(found, inspect.Metadata):
        extra.update(found.extra or {})
        found = found.type
    if isinstance(found, inspect.UnionType):
        others = [each for each in found.types if not isinstance(each, inspect.NoneType)]
        if len(others) == 1:
            bare, more = bare_type(others[0])
            return bare, {**more, **extra}
    return found, extra


def schema_of(kind: type[Struct]) -> Mapping[str, Any]:
    """The JSON Schema of a struct, with references to `components/schemas`."""
    _, components = msgspec.json.schema_components((kind,), ref_template="#/components/schemas/{name}")
    found: Mapping[str, Any] = components[kind.__name__]
    return found
