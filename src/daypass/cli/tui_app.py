"""The screen of `daypass tui`: three tables with the time left. Textual is an extra, so only that command imports this.

The server is asked every fifteen seconds, and on request; the times left follow every second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Label, Static

from daypass.cli import output
from daypass.cli.durations import left
from daypass.cli.tui_view import View
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError

_EVERY: Final = 15.0  # seconds between two calls
_TABLES: Final = {
    "access": ("Access", ("Role", "State", "Request")),
    "requests": ("Requests", ("Roles", "State", "Reason")),
    "sessions": ("Sessions", ("Role or user", "State", "Name")),
}
"""Members of View: title, and headings before the time left."""


class AccessApp(App[None]):
    """Three tables, and a line about the selected row."""

    CSS = "DataTable { height: 1fr; } .title { text-style: bold; margin-top: 1; } #said { height: 2; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [("r", "refresh", "Refresh"), ("q", "quit", "Quit")]

    def __init__(self, connection: Connection, read: Callable[[Connection], View]) -> None:
        super().__init__()
        self._connection = connection
        self._read = read
        self.shown = View()

    def compose(self) -> ComposeResult:
        yield Static("daypass: waiting for the server …", id="who", markup=False)
        for name, (title, _) in _TABLES.items():
            yield Label(title, classes="title", id=f"title-{name}")
            yield DataTable(id=name, cursor_type="row")
        yield Static("", id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        for name, (_, headings) in _TABLES.items():
            self.query_one(f"#{name}", DataTable).add_columns(*headings, "Left")
        self.set_interval(_EVERY, self.action_refresh)
        self.set_interval(1.0, self.count_down)
        self.action_refresh()

    @work(thread=True, exclusive=True)
    def action_refresh(self) -> None:
        try:
            view = self._read(self._connection)
        except (ClientError, LocalStateError) as error:
            self.call_from_thread(self.say, f"daypass: {output.safe(error)}")
            return
        self.call_from_thread(self.show, view)

    def say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)

    def show(self, view: View) -> None:
        self.shown = view
        inbox = output.counted(view.waiting, "request")
        waiting = f"   {inbox} for your decision: daypass request ls --inbox" if view.waiting else ""
        self.query_one("#who", Static).update(view.who + waiting)
        for name, (title, _) in _TABLES.items():
            rows, where = getattr(view, name), ""
            if name == "sessions" and view.local:
                where = " in the cache of this machine"
            self.query_one(f"#title-{name}", Label).update(f"{title}{where}{'' if rows else ': none'}")
            table = self.query_one(f"#{name}", DataTable)
            row = table.cursor_row
            table.clear()
            table.display = bool(rows)  # an empty table would take room, and the focus
            for each in rows:
                table.add_row(*map(Text, each.cells), "")
            table.move_cursor(row=row)
        if self.focused is None:
            self.screen.focus_next()
        self.suggest()
        self.count_down()

    def count_down(self) -> None:
        now = time.time() + self.shown.offset
        for name in _TABLES:
            table = self.query_one(f"#{name}", DataTable)
            for number, row in enumerate(getattr(self.shown, name)):
                seconds = row.ends - now
                colour = "red" if seconds < 60 else "yellow" if seconds < 600 else "green"
                cell = Text(left(seconds), colour) if row.ends else Text("")
                table.update_cell_at(Coordinate(number, len(row.cells)), cell, update_width=True)

    def on_data_table_row_highlighted(self) -> None:
        self.suggest()

    def on_descendant_focus(self) -> None:
        self.suggest()

    def suggest(self) -> None:
        """Shows the command about the selected row of the table in use."""
        table = self.focused
        if isinstance(table, DataTable):
            rows = getattr(self.shown, table.id or "access")
            self.say(rows[table.cursor_row].command if table.cursor_row < len(rows) else "")
