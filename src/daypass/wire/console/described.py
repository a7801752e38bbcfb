"""Pages of resources, made from the descriptions in `daypass.api`: a list, a page for each, forms, confirmations.

A page that shows more than its resource is written by hand. Every form is confirmed: what is described here decides who can
act, and who is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from msgspec import inspect

from daypass.api.operation import Operation, Part, bare_type
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.console.change import Change
from daypass.wire.console.context import ConsoleContext, ConsolePage, to
from daypass.wire.console.forms import Field, FormView
from daypass.wire.console.members import members_of
from daypass.wire.console.table import Cell, Column, TableView, link, table_page
from daypass.wire.endpoints.endpoint import Endpoint, make_input, read_text
from daypass.wire.endpoints.shown import shown
from daypass.wire.http import Response
from daypass.wire.routing import Route

_ROWS: Final = 50
_LONG: Final = 65_536  # characters of a JSON document in a form
_TIMES: Final = ("_at", "_until")
_SERVER: Final = ("account", "after", "limit")
"""Fields that no form has."""


@dataclass(frozen=True)
class Resource:
    """A resource with a list and, if there is `show`, a page for each.

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


class Pages:
    """The pages of some resources. `endpoints`: what performs their operations."""

    def __init__(self, resources: Sequence[Resource], endpoints: Sequence[Endpoint]) -> None:
        self._resources = resources
        self._perform = {each.operation: each.perform for each in endpoints}

    def pages(self) -> list[tuple[str, ConsolePage, str, str]]:
        """Path, function, summary and operation of each page that is only read."""
        found = []
        for each in self._resources:
            found.append((each.path, partial(self._list, each), f"Console: {each.title}", _named(each.list)))
            if each.show is not None:
                found.append((each.one, partial(self._one, each), f"Console: one {each.noun}", _named(each.show)))
        return found

    def changes(self) -> list[Change]:
        """Every form."""
        return [
            Change(
                _address(resource, operation),
                _named(operation),
                operation.summary,
                partial(self._submit, resource, operation),
                partial(self._again, resource, operation),
                confirmed=True,
                deletes=operation.method == "DELETE",
                of="" if operation in (resource.create, resource.change) else resource.key,
            )
            for resource in self._resources
            for operation in _changing(resource)
        ]

    async def _call(self, ctx: ConsoleContext, operation: Operation, values: Mapping[str, Any]) -> Any:
        return await ctx.perform(_named(operation), self._perform[operation], make_input(operation, values))

    async def _list(self, resource: Resource, ctx: ConsoleContext, problem: str = "", once: Once = ()) -> Response:
        operation, output = resource.list, resource.list.output
        assert output is not None
        paging = {"after": ctx.value("after", 512), "limit": _ROWS} if operation.paged else {}
        found = await self._call(ctx, operation, paging)
        items, following = found if operation.paged else (found, "")
        columns = operation.command.columns if operation.command is not None else ()
        rows = [self._row(resource, columns, shown(output, item)) for item in items]
        titles = [Column(column.partition("=")[0].capitalize()) for column in columns]
        beside = [] if resource.show is not None else [Column("")]
        table = TableView([*titles, *beside], rows, resource.path, following, empty=resource.empty)
        created = [_form(resource, resource.create, ctx.values)] if resource.create is not None else []
        return table_page(ctx, resource.title, table, problem=problem, forms=created, once=once)

    def _row(self, resource: Resource, columns: Sequence[str], item: Mapping[str, Any]) -> list[Cell]:
        cells = [_cell(column, item) for column in columns]
        if resource.show is not None:
            cells[0] = link(cells[0].text, resource.one, **{resource.key: item[resource.key]})
            return cells
        buttons = [_button(resource, each, item) for each in (*resource.actions, resource.remove) if each is not None]
        return [*cells, Cell(buttons=tuple(buttons))]

    async def _one(self, resource: Resource, ctx: ConsoleContext, problem: str = "", once: Once = ()) -> Response:
        operation = resource.show
        assert operation is not None
        assert operation.output is not None
        found = await self._call(ctx, operation, {resource.key: ctx.required(resource.key, 2048)})
        item = shown(operation.output, found)
        forms = [_form(resource, each, _stored(each, item)) for each in (resource.change,) if each is not None]
        buttons = [_button(resource, each, item) for each in (*resource.actions, resource.remove) if each is not None]
        about = [(_label(name), _cell(f"x={name}", item)) for name in item if not isinstance(item[name], dict)]
        title = str(item.get("name") or item[resource.key])
        return ctx.page(
            "described", title, about=about, forms=forms, buttons=buttons, problem=problem, once=once, item=item
        )

    async def _submit(self, resource: Resource, operation: Operation, ctx: ConsoleContext) -> Response:
        result = await self._call(ctx, operation, _values(operation, ctx))
        secrets = _secrets(operation, result)
        named = {resource.key: ctx.value(resource.key, 2048)}
        if secrets:
            page = self._one if resource.show is not None and named[resource.key] else self._list
            return await page(resource, ctx, once=secrets)
        if operation is resource.remove or resource.show is None:
            return to(resource.path, done="deleted" if operation is resource.remove else "saved")
        if operation is resource.create and operation.output is not None:
            named = {resource.key: str(shown(operation.output, result)[resource.key])}
        return to(resource.one, done="saved", **named)

    async def _again(self, resource: Resource, operation: Operation, ctx: ConsoleContext, problem: str) -> Response:
        if operation is resource.create or resource.show is None:
            return await self._list(resource, ctx, problem)
        return await self._one(resource, ctx, problem)


Once = Sequence[tuple[str, str]]
"""Secrets that only this page shows, with their labels."""


def described_routes(pages: Pages, show: Any, form: Any) -> tuple[Route, ...]:
    """The routes of pages and forms. `show`, `form`: see `console_routes`."""
    return (
        *(show(*each) for each in pages.pages()),
        *(form(each.path, each.serve, each.summary, each.operation) for each in pages.changes()),
    )


def _changing(resource: Resource) -> list[Operation]:
    found = (resource.create, resource.change, *resource.actions, resource.remove)
    return list(dict.fromkeys(each for each in found if each is not None))


def _named(operation: Operation) -> str:
    return f"daypass:{operation.name}"


def _address(resource: Resource, operation: Operation) -> str:
    path = resource.one or resource.path
    if operation is resource.create:
        return f"{resource.path}/create"
    if operation is resource.change:
        return f"{path}/save"
    if operation is resource.remove:
        return f"{path}/delete"
    return f"{path}/{operation.operation_id}"


# --- Forms


def _form(resource: Resource, operation: Operation, values: Mapping[str, str]) -> FormView:
    """The form of an operation with these values."""
    creates = operation is resource.create
    hidden = {} if creates else {resource.key: values.get(resource.key, "")}
    fields = tuple(
        _field(part, values.get(part.name, (resource.example or {}).get(part.name, "") if creates else ""))
        for part in operation.parts.values()
        if part.name not in (*_SERVER, *hidden)
    )
    title = f"New {resource.noun}" if creates else "Settings"
    button = f"Create the {resource.noun}" if creates else "Save the settings"
    return FormView(_address(resource, operation), button, title, fields, hidden)


def _field(part: Part, value: str) -> Field:
    hint = str(part.schema.get("description", ""))
    field = Field(part.name, _label(part.name), value, hint=hint, required=part.required, maxlength=_longest(part))
    match part.type:
        case inspect.LiteralType(values=values):
            return field._replace(kind="choice", options=[(str(each), str(each)) for each in values])
        case inspect.BoolType():
            return field._replace(kind="check")
        case inspect.DictType():
            return field._replace(kind="code")
        case inspect.ListType() | inspect.VarTupleType():
            return field._replace(kind="area", hint=f"{hint} One on each line.".strip())
    if part.extra.get("secret"):
        return field._replace(kind="password", value="")
    return field._replace(kind="code") if part.name == "document" else field


def _longest(part: Part) -> int:
    if isinstance(part.type, inspect.DictType | inspect.ListType | inspect.VarTupleType):
        return _LONG
    return int(part.schema.get("maxLength", 2048))


def _button(resource: Resource, operation: Operation, item: Mapping[str, Any]) -> FormView:
    name = str(item[resource.key])
    verb = operation.summary.partition(" ")[0].removesuffix("s")
    text = "Delete" if operation is resource.remove else verb
    hidden = {part.name: str(item[part.name]) for part in operation.parts.values() if part.name in item}
    return FormView(
        _address(resource, operation),
        text,
        hidden={resource.key: name, **hidden},
        label=f"{text} {name}",
        danger=operation is resource.remove,
    )


def _stored(operation: Operation, item: Mapping[str, Any]) -> dict[str, str]:
    """The values of a form about what is stored."""
    found = {name: item[name] for name in operation.parts if name in item}
    return {name: _text(value) for name, value in found.items()}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return ("yes" if value else "") if isinstance(value, bool) else str(value or "")


def _values(operation: Operation, ctx: ConsoleContext) -> dict[str, Any]:
    """The input from the fields of a form. An empty field is absent. Raises DaypassError(VALIDATION)."""
    found: dict[str, Any] = {}
    for part in operation.parts.values():
        text = ctx.value(part.name, max(_longest(part), 64)) if part.name not in _SERVER else ""
        if isinstance(part.type, inspect.BoolType) and part.place == "body":
            if text or part.default is not None:  # a box that is not checked sends nothing
                found[part.name] = text == "yes"
        elif text:
            found[part.name] = _read(part, text)
    return found


def _read(part: Part, text: str) -> Any:
    if isinstance(part.type, inspect.DictType):
        return members_of(text)
    if isinstance(part.type, inspect.ListType | inspect.VarTupleType):
        return [line.strip() for line in text.splitlines() if line.strip()]
    return read_text(part.type, f"The field {part.name}", text)


# --- What is shown


def _cell(column: str, item: Mapping[str, Any]) -> Cell:
    """A cell of a column as commands have it: "HEADING=field", "HEADING=field|otherwise", "HEADING=field:form"."""
    heading, _, place = column.partition("=")
    place, _, otherwise = (place or heading.lower()).partition("|")
    value: Any = item
    for name in place.partition(":")[0].split("."):
        value = value.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and place.endswith(_TIMES):
        return Cell(at=value)
    if place == "enabled":
        return Cell(state="active" if value else "inactive")
    if isinstance(value, list | tuple):
        return Cell(", ".join(str(each.get("id") if isinstance(each, dict) else each) for each in value) or otherwise)
    if isinstance(value, dict):
        return Cell(", ".join(value) or otherwise)
    return Cell(("yes" if value else "") if isinstance(value, bool) else str(value or "") or otherwise)


def _secrets(operation: Operation, result: Any) -> Once:
    """The secrets of an answer that is shown once."""
    if operation.output is None:
        return ()
    found = shown(operation.output, result)
    marked = [
        field.name
        for field in inspect.type_info(operation.output).fields  # type: ignore[attr-defined]  # of a struct
        if bare_type(field.type)[1].get("secret")
    ]
    return [(_label(name), str(found[name])) for name in marked if found.get(name)]


def _label(name: str) -> str:
    known = {"id": "Id", "arn": "ARN", "client_id": "Client id", "url": "URL"}
    return known.get(name, name.replace("_", " ").capitalize())
