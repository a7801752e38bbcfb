"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from daypass.client.http import Connection
from daypass.client.profiles import resolve

PAGE = 250
"""Items of one page: as large as they can be, so many of them stay below the size of an answer that we read."""

F = TypeVar("F", bound=Callable[..., Any])


def server_options(command: F) -> F:
    """--profile and --endpoint."""
    command = click.option("--profile", default="", metavar="NAME", help="A profile of `daypass login`.")(command)
    return click.option("--endpoint", default="", metavar="URL", help="Use this server in place of the profile's.")(
        command
    )


def output_option(command: F) -> F:
    """--output text|json."""
    choice = click.Choice(["text", "json"])
    return click.option(
        "--output", "form", type=choice, default="text", show_default=True, help="For people, or for tools."
    )(command)


def connect(profile: str, endpoint: str) -> Connection:
    """A connection as the profile; see `client.profiles.resolve`."""
    return Connection(resolve(profile, endpoint))


def pages(connection: Connection, path: str, name: str, query: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Up to `limit` members of a list, page by page."""
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        answer = connection.api("GET", path, {**query, "limit": str(min(limit - len(found), PAGE))})
        found += answer[name]
        if answer["next"] in ("", query.get("after")):  # a place that does not move would have us ask for ever
            break
        query = {**query, "after": answer["next"]}
    return found[:limit]
