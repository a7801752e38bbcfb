"""A table of a page: its columns, its rows, and where the next page begins. One template shows them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daypass.wire.console.context import ConsoleContext, address
from daypass.wire.console.forms import FormView
from daypass.wire.http import Response


class Cell(NamedTuple):
    """One cell. `at`: a time (ms) in place of the text. `state`: a word that is shown as a state. `buttons`: forms."""

    text: str = ""
    href: str = ""
    at: int = 0
    state: str = ""
    buttons: Sequence[FormView] = ()


class Column(NamedTuple):
    """A column. `sort`: the value of the parameter `sort` by which the server sorts by it; "": it does not."""

    title: str
    sort: str = ""


class TableView(NamedTuple):
    """A table.

    Attributes:
        here: the address of the page without its cursor.
        empty: what an empty table says.
        filters: links to the table with other rows: text, address, and whether it shows these.
        start: with what the names of the page begin; None: the page cannot begin at a name.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    here: str
    following: str = ""
    first: bool = False
    sorted_by: str = ""
    empty: tuple[str, str] = ("Nothing here.", "")
    start: str | None = None
    filters: Sequence[tuple[str, str, bool]] = ()

    def sort_address(self, column: Column) -> str:
        """The address of this page, sorted by a column."""
        path = self.here.partition("?")[0]
        return address(path, sort=column.sort)


def columns(*titles: str) -> tuple[Column, ...]:
    """Columns that the server does not sort by."""
    return tuple(Column(title) for title in titles)


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
    """A page with one table, and the forms for new rows. `once`: secrets with labels, which no other page shows."""
    table = table._replace(first=bool(ctx.value("after") or ctx.value("start")))
    return ctx.page("table", title, table=table, problem=problem, forms=forms, once=once)
