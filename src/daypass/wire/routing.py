"""The routes table: which handler, or which mounted application, serves a path.

A path that ends with "/" matches every path that begins with it; "/" itself is exact. An exact path wins over a prefix,
and a longer prefix over a shorter one. Paths are compared as sent, still percent-encoded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias

from msgspec import Struct

from daypass.wire.front import ErrorFormat
from daypass.wire.http import Handler
from daypass.wire.json_errors import JSON_ERRORS

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

GET: Final = frozenset({"GET", "HEAD"})
POST: Final = frozenset({"POST"})


class Route(Struct, frozen=True):
    """A handler of a path.

    Attributes:
        summary: what it serves, for the reference page.
        methods: empty when the handler itself decides.
        errors: how refusals are written, of the handler or before it is called.
        operation: the operation recorded for a refusal before the handler is called; "" if the path does not determine
        it.
        page: where a browser is taken that asks for the address of a form with GET, for example by a reload; "": nowhere.
    """

    path: str
    handler: Handler
    summary: str
    methods: frozenset[str] = GET
    errors: ErrorFormat = JSON_ERRORS
    operation: str = ""
    page: str = ""


class Mount(Struct, frozen=True):
    """An ASGI application that serves every path below `path`, and receives full paths."""

    path: str
    app: AsgiApp
    summary: str
    errors: ErrorFormat = JSON_ERRORS
    operation: str = ""


class Routes:
    """The table. Raises ValueError when two rows have the same path."""

    def __init__(self, rows: Iterable[Route | Mount]) -> None:
        self.rows = tuple(rows)
        by_path = {row.path.encode("ascii"): row for row in self.rows}
        if len(by_path) != len(self.rows):
            raise ValueError("two routes have the same path")
        exact = {path: row for path, row in by_path.items() if path == b"/" or not path.endswith(b"/")}
        prefixes = [(path, row) for path, row in by_path.items() if path not in exact]
        self._prefixes = sorted(prefixes, key=lambda item: -len(item[0]))
        if b"/" in exact:
            exact[b""] = exact[b"/"]
        self.find_exact: Callable[[bytes], Route | Mount | None] = exact.get

    def find(self, raw_path: bytes) -> Route | Mount | None:
        """The row of a path; None for none."""
        found = self.find_exact(raw_path)
        if found is None:
            for prefix, row in self._prefixes:
                if raw_path.startswith(prefix):
                    return row
        return found
