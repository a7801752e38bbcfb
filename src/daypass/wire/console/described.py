"""Pages of resources, made from the descriptions in `daypass.api`: a list, a page for each, forms, confirmations.

A page that shows more than its resource is written by hand. Every form is confirmed: what is described here decides who can
act, and who is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from msgspec import inspect

from daypass.api import access, notifications, oauth, providers, record
from daypass.api.operation import InputField, Operation, ResourcePages, bare_type
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import ClientSettings
from daypass.domain.oauth.resource_server import ResourceServerSettings
from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, ConsolePage, address, to
from daypass.wire.console.members import form_schema, members_of
from daypass.wire.console.table import Cell, Field, FormView, TableView, link, table_page
from daypass.wire.endpoints.endpoint import Endpoint, make_input, read_text, shown
from daypass.wire.http import Response
from daypass.wire.routing import Route

_ROWS: Final = 50
_LONG: Final = 65_536  # characters of a JSON document in a form
_TIMES: Final = ("_at", "_until")
Once: TypeAlias = Sequence[tuple[str, str]]
"""Secrets that only this page shows, with their labels."""
_SERVER: Final = ("account", "after", "limit")
"""Fields that no form has."""


PAGES: Final = tuple(
    pages
    for module in (oauth, notifications, providers, access, record)
    for pages in vars(module).values()
    if isinstance(pages, ResourcePages)
)
"""The resources that have described pages."""
_SETTINGS: Final[Mapping[str, type[Any]]] = {"client": ClientSettings, "resource server": ResourceServerSettings}
"""The classes of fields `settings`, by what has them: forms are made from them."""


class Pages:
    """The pages of `PAGES`. `endpoints`: what performs their operations."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._perform = {each.operation: each.perform for each in endpoints}

    def pages(self) -> list[tuple[str, ConsolePage, str, str]]:
        """Path, function, summary and operation of each page that is only read."""
        found: list[tuple[str, ConsolePage, str, str]] = []
        for each in PAGES:
            found.append((each.path, partial(self._list, each), f"Console: {each.title}", _named(each.list)))
            if each.show is not None:
                found.append((each.one, partial(self._one, each), f"Console: one {each.noun}", _named(each.show)))
        return found

    def changes(self) -> list[FormChange]:
        """Every form."""
        return [
            FormChange(
                address,
                _named(operation),
                operation.summary,
                partial(self._submit, resource, operation, creates=creates),
                partial(self._again, resource, creates=creates),
                confirmed=True,
                asks=operation.method == "DELETE",
                of="" if creates else resource.key,
            )
            for resource in PAGES
            for address, operation, creates in _changing(resource)
        ]

    async def _call(self, ctx: ConsoleContext, operation: Operation, values: Mapping[str, Any]) -> Any:
        return await ctx.perform(_named(operation), self._perform[operation], make_input(operation, values))

    async def _list(self, resource: ResourcePages, ctx: ConsoleContext, problem: str = "", once: Once = ()) -> Response:
        operation, output = resource.list, resource.list.output
        assert output is not None
        paging: dict[str, Any] = {"after": ctx.value("after", 512), "limit": _ROWS} if operation.paged else {}
        wanted = {name: ctx.value(name, 64) for name in _choices(operation) if ctx.value(name, 64)}
        found = await self._call(ctx, operation, {**paging, **wanted})
        items, following = found if operation.paged else (found, "")
        columns = sorted(operation.command.columns if operation.command is not None else (), key=_is_not_name)
        rows = [self._row(resource, columns, shown(output, item)) for item in items]
        titles = [column.partition("=")[0].capitalize() for column in columns]
        beside = [""] if resource.buttons_in_rows else []
        here = address(resource.path, **wanted)
        table = TableView(
            [*titles, *beside], rows, here, following, empty=resource.empty, filters=_filters(resource, wanted)
        )
        created = [_form(resource, resource.create, ctx.values, creates=True)] if resource.create is not None else []
        return table_page(ctx, resource.title, table, problem=problem, forms=created, once=once)

    def _row(self, resource: ResourcePages, columns: Sequence[str], item: Mapping[str, Any]) -> list[Cell]:
        cells = [_cell(column, item) for column in columns]
        if resource.show is not None:
            cells[0] = link(cells[0].text, resource.one, **{resource.key: item[resource.key]})
            return cells
        return [*cells, Cell(buttons=_buttons(resource, item))] if resource.buttons_in_rows else cells

    async def _one(self, resource: ResourcePages, ctx: ConsoleContext, problem: str = "", once: Once = ()) -> Response:
        operation = resource.show
        assert operation is not None
        assert operation.output is not None
        found = await self._call(ctx, operation, {resource.key: ctx.required(resource.key, 2048)})
        item = shown(operation.output, found)
        values = {**_stored(resource.change, item), **ctx.values} if resource.change is not None else {}
        forms = [_form(resource, resource.change, values, creates=False)] if resource.change is not None else []
        about = [(_label(name), _cell(f"x={name}", item)) for name in item if not isinstance(item[name], dict)]
        title = str(item.get("name") or item[resource.key])
        return ctx.page(
            "described", title, about=about, forms=forms, buttons=_buttons(resource, item), problem=problem, once=once
        )

    async def _submit(
        self, resource: ResourcePages, operation: Operation, ctx: ConsoleContext, *, creates: bool
    ) -> Response:
        values = _values(operation, ctx)
        if creates and operation.method == "PUT" and await self._exists(resource, ctx, str(values.get(resource.key))):
            message = f"A {resource.noun} {values[resource.key]} exists. Change it on its page, or delete it first."
            raise DaypassError(ErrorKind.ALREADY_EXISTS, message)
        result = await self._call(ctx, operation, values)
        secrets = _secrets(operation, result)
        if secrets:
            page = self._list if creates or resource.show is None else self._one
            return await page(resource, ctx, once=secrets)
        if operation is resource.remove or resource.show is None:
            return to(resource.path, done="deleted" if operation is resource.remove else "saved")
        key = ctx.value(resource.key, 2048)
        if creates and operation.output is not None:
            key = str(shown(operation.output, result)[resource.key])
        return to(resource.one, done="saved", **{resource.key: key})

    async def _exists(self, resource: ResourcePages, ctx: ConsoleContext, key: str) -> bool:
        """Whether there is one with this key: the form of a new one must not replace it unseen."""
        if resource.show is None:
            found = await self._call(ctx, resource.list, {})
            return any(getattr(each, resource.key) == key for each in found)
        try:
            await self._call(ctx, resource.show, {resource.key: key})
        except DaypassError as error:
            if error.kind is ErrorKind.NOT_FOUND:
                return False
            raise
        return True

    async def _again(self, resource: ResourcePages, ctx: ConsoleContext, problem: str, *, creates: bool) -> Response:
        if creates or resource.show is None:
            return await self._list(resource, ctx, problem)
        return await self._one(resource, ctx, problem)


def described_routes(pages: Pages, show: Any, form: Any) -> tuple[Route, ...]:
    """The routes of pages and forms. `show`, `form`: see `console_routes`."""
    return (
        *(show(*each) for each in pages.pages()),
        *(form(each.path, each.serve, each.summary, each.operation) for each in pages.changes()),
    )


def _choices(operation: Operation) -> dict[str, Sequence[str]]:
    """The fields of a list that take one of some values, with the values."""
    parts = operation.parts.values()
    return {
        part.name: [str(value) for value in part.type.values]
        for part in parts
        if isinstance(part.type, inspect.LiteralType)
    }


def _filters(resource: ResourcePages, wanted: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Links to the list with each choice: text, address, and whether it is shown."""
    return [
        (str(value) or "all", address(resource.path, **{name: value}), wanted.get(name, "") == value)
        for name, values in _choices(resource.list).items()
        for value in sorted(values)
    ]


def _changing(resource: ResourcePages) -> list[tuple[str, Operation, bool]]:
    """Address and operation of each form, and whether it makes a new one."""
    path, found = resource.one or resource.path, list[tuple[str, Operation, bool]]()
    if resource.create is not None:
        found.append((f"{resource.path}/create", resource.create, True))
    if resource.change is not None:
        found.append((f"{path}/save", resource.change, False))
    if resource.remove is not None:
        found.append((f"{path}/delete", resource.remove, False))
    return found + [(_action(resource, each), each, False) for each in resource.actions]


def _action(resource: ResourcePages, operation: Operation) -> str:
    return f"{resource.one or resource.path}/{'-'.join(_words(operation))}"


def _words(operation: Operation) -> list[str]:
    """The words of the name of an operation, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", operation.name)]


def _named(operation: Operation) -> str:
    return f"daypass:{operation.name}"


# --- Forms


def _form(resource: ResourcePages, operation: Operation, values: Mapping[str, str], *, creates: bool) -> FormView:
    """The form of an operation with these values."""
    hidden = {} if creates else {resource.key: values.get(resource.key, "")}
    example = (resource.example or {}) if creates else {}
    fields = tuple(
        _field(part, values.get(part.name, example.get(part.name, _text(part.default) if creates else "")))
        for part in sorted(operation.parts.values(), key=lambda part: part.name != "name")
        if part.name not in (*_SERVER, *hidden)
    )
    if resource.noun in _SETTINGS:
        schema = form_schema(_SETTINGS[resource.noun])  # type: ignore[arg-type]  # a class is hashable
        kind = resource.noun.replace(" ", "-")
        fields = tuple(each._replace(kind=kind, schema=schema) if each.name == "settings" else each for each in fields)
    if creates:
        return FormView(f"{resource.path}/create", f"Create the {resource.noun}", f"New {resource.noun}", fields)
    return FormView(f"{resource.one or resource.path}/save", "Save the settings", "Settings", fields, hidden)


def _field(part: InputField, value: str) -> Field:
    hint = str(part.schema.get("description", ""))
    pick, longest = part.extra.get("pick", ""), _longest(part)
    field = Field(part.name, _label(part.name), value, hint=hint, required=part.required, maxlength=longest, pick=pick)
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


def _longest(part: InputField) -> int:
    if isinstance(part.type, inspect.DictType | inspect.ListType | inspect.VarTupleType):
        return _LONG
    return int(part.schema.get("maxLength", 2048))


def _buttons(resource: ResourcePages, item: Mapping[str, Any]) -> list[FormView]:
    """The buttons beside one. An operation on a part of it, such as a secret, has a button for each part."""
    found: list[FormView] = []
    for operation in (*resource.actions, resource.remove):
        if operation is None:
            continue
        further = [part.name for part in operation.placed("path") if part.name not in (resource.key, *item)]
        whole = further[0].removesuffix("_id") if further else ""
        parts = item.get(f"{whole}s") if whole else None
        found += [_button(resource, operation, item, {further[0]: each["id"]}) for each in parts or ()]
        if parts is None:
            found.append(_button(resource, operation, item, {name: str(item[resource.key]) for name in further}))
    return found


def _button(
    resource: ResourcePages, operation: Operation, item: Mapping[str, Any], further: Mapping[str, str]
) -> FormView:
    key = str(item[resource.key])
    removes = operation is resource.remove
    address = f"{resource.one or resource.path}/delete" if removes else _action(resource, operation)
    text = f"Delete the {resource.noun}" if removes else " ".join(_words(operation)).capitalize()
    about = next((value for value in further.values() if value != key), "")
    text = f"{text} {about}" if about else text
    danger = operation.method == "DELETE"
    return FormView(address, text, hidden={resource.key: key, **further}, label=f"{text} {key}", danger=danger)


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
            found[part.name] = text == "yes"  # a box that is not checked sends nothing
        elif text:
            found[part.name] = _read(part, text)
    return found


def _read(part: InputField, text: str) -> Any:
    if isinstance(part.type, inspect.DictType):
        return members_of(text)
    if isinstance(part.type, inspect.ListType | inspect.VarTupleType):
        return [line.strip() for line in text.splitlines() if line.strip()]
    return read_text(part.type, f"The field {part.name}", text)


# --- What is shown


def _is_not_name(column: str) -> bool:
    """Sorts the name, which leads to the page of a row, before the other columns."""
    return column != "NAME"


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
    if place == "who" and value.startswith("user/"):
        return link(value, "/console/user", name=value.rpartition("/")[2])
    text = ("yes" if value else "") if isinstance(value, bool) else "" if value is None else str(value)
    return Cell(text or otherwise)


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
    return known.get(name, name.removesuffix("_at").replace("_", " ").capitalize())
