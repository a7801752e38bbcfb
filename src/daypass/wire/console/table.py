"""A table of a page: its columns, its rows, and where the next page begins. One template shows them all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.console.context import ConsoleContext, address
from daypass.wire.http import Response

_CHOSEN: Final = 50


class Cell(NamedTuple):
    """One cell. `at`: a time (ms) in place of the text. `state`: a word that is shown as a state. `buttons`: forms."""

    text: str = ""
    href: str = ""
    at: int = 0
    state: str = ""
    buttons: Sequence[FormView] = ()


class TableView(NamedTuple):
    """A table.

    Attributes:
        columns: their titles; "": of buttons.
        here: the address of the page without its cursor.
        empty: what an empty table says.
        filters: links to the table with other rows: text, address, and whether it shows these.
        keys, bulk: what each row is called in the form that acts on several chosen rows, and that form.
        start: with what the names of the page begin; None: the page cannot begin at a name.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    here: str
    following: str = ""
    first: bool = False
    empty: tuple[str, str] = ("Nothing here.", "")
    start: str | None = None
    filters: Sequence[tuple[str, str, bool]] = ()
    keys: Sequence[str] = ()
    bulk: FormView | None = None


def link(text: str, path: str, **parameters: object) -> Cell:
    """A cell that leads to a page."""
    return Cell(text, address(path, **parameters))


def table_page(
    ctx: ConsoleContext,
    title: str,
    table: TableView,
    *,
    problem: str = "",
    forms: Sequence[FormView] = (),
    once: Sequence[tuple[str, str]] = (),
) -> Response:
    """A page with one table and a button for each form of a new row; `?new=NUMBER`, or a form that was refused, shows that
    form alone. `once`: secrets with labels, which no other page shows.
    """
    path, number = ctx.page_context.request.raw_path.decode("latin-1"), ctx.value("new", 8)
    for at, form in enumerate(forms, 1):
        if not once and (number == str(at) or form.action == path):
            return ctx.page("new", form.title, form=form, back=table.here, problem=problem)
    table = table._replace(first=bool(ctx.value("after") or ctx.value("start")))
    return ctx.page("table", title, table=table, problem=problem, forms=forms, once=once)


# --- Forms as data: one template shows them all


_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Field(NamedTuple):
    """A field. `kind`: text, password, area, code (an area for JSON or PEM), check or choice, which has `options` (value, text).
    `schema`: that of the JSON, which can then also be edited as a form; `kind` is then that of the linter. `pick`: what completes
    the text, a kind of `roles.pick`.
    """

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    hint: str = ""
    required: bool = True
    maxlength: int = 2048
    options: Sequence[tuple[str, str]] = ()
    schema: str = ""
    pick: str = ""


class FormView(NamedTuple):
    """A form, which posts to `action`.

    Attributes:
        button: the text of its button. label: what the button does, for screen readers, where the text alone does not say it.
        title: its heading; "": the form is a button beside something.
        hidden: fields that a person does not see.
        danger: the button removes something.
    """

    action: str
    button: str
    title: str = ""
    fields: Sequence[Field] = ()
    hidden: Mapping[str, str] = _NONE
    label: str = ""
    danger: bool = False

    @property
    def has_editor(self) -> bool:
        """Whether a field of it is edited as a form beside its JSON."""
        return any(field.schema for field in self.fields)


def chosen_rows(ctx: ConsoleContext) -> Sequence[str]:
    """The keys of the rows that were chosen for a form. Raises DaypassError(VALIDATION) for more than a page of rows."""
    rows = tuple(dict.fromkeys(ctx.required("chosen", 8192).split()))
    if len(rows) > _CHOSEN:
        raise DaypassError(ErrorKind.VALIDATION, f"At most {_CHOSEN} rows can be chosen.")
    return rows


async def each_chosen(ctx: ConsoleContext, perform: Callable[[str], Awaitable[object]]) -> str:
    """Performs something with each row that was chosen for a form, also after a refusal. The refusals are recorded; their
    text, or "". Raises DaypassError: VALIDATION for more than a page of rows; any other ends it and says how many were done.
    """
    rows = chosen_rows(ctx)
    done, problems = 0, list[str]()
    for row in rows:
        try:
            await perform(row)
            done += 1
        except DaypassError as error:
            try:
                problems.append(f"{row}: {await ctx.problem(error)}")
            except DaypassError as failure:
                failure.public += f" Before it, {done} of {len(rows)} were done."
                raise
    return " ".join([f"{done} of {len(rows)} were done.", *problems]) if problems else ""
