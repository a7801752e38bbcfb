"""What commands return: data for programs and text for people. `render` is the only place that prints either.

A command that returns a Result prints nothing on standard output itself, so that with --output json there is nothing but
one JSON document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from daypass.cli import exits, output
from daypass.client.errors import ClientError


class Table(NamedTuple):
    """Columns with headings. `empty`: what a table without rows says."""

    headings: Sequence[str]
    rows: Iterable[Sequence[object]]
    empty: str = "there are none"


class Fields(NamedTuple):
    """The fields of one thing, a line each."""

    pairs: Mapping[str, object]


Part = str | Table | Fields | Callable[[], object]
"""A part of the text: a line, a table, fields, or what prints something else."""


class Result:
    """The outcome of a command. `data` is printed as JSON, or else the parts of the text; then `status` is returned.

    Times in `data` are milliseconds under the API's names, see `output.data`.
    """

    def __init__(self, data: Any, *text: Part, status: int = exits.OK) -> None:
        self.data = data
        self.text = text
        self.status = status


def done(outcome: str, *text: Part, **about: Any) -> Result:
    """A change about which the server returns nothing. `outcome`: "deleted". `about`: what it concerns."""
    return Result({"result": outcome, **about}, *text)


def listing(
    found: Sequence[Any], headings: Sequence[str], row: Callable[[Any], Sequence[object]], **empty: str
) -> Result:
    """A list. `row`: the cells of a member. `empty`: see `Table`."""
    return Result(found, Table(headings, map(row, found), **empty))


def render(result: Result, form: str) -> int:
    """Prints a result as "json" or "text"; its exit status."""
    if form == "json":
        output.data(result.data)
        return result.status
    for part in result.text:
        if isinstance(part, str):
            output.prose(output.safe(part))
        elif isinstance(part, Table):
            output.table(*part)
        elif isinstance(part, Fields):
            output.fields(part.pairs)
        else:
            part()
    return result.status


@contextmanager
def noting_done(earlier: Sequence[str]) -> Iterator[None]:
    """A step of several: if it fails, the message also says what the steps before it have done."""
    try:
        yield
    except ClientError as error:
        if earlier:
            error.add_note(f"done before that: {', '.join(earlier)}")
        raise
