"""Finds anything: pages of the menu, and what the operation Find knows, as links. Ctrl-K asks it while somebody types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from daypass.api.access import FoundOut
from daypass.domain.errors import DaypassError
from daypass.operations.access.find import find
from daypass.wire.console.context import ConsoleContext, address
from daypass.wire.console.navigation import menu
from daypass.wire.http import Response

_PAGES: Final = 4  # of the menu that are shown


class FoundLink(NamedTuple):
    """A link. `more`: what it is, in small."""

    icon: str
    href: str
    text: str
    more: str


class _Look(NamedTuple):
    """How a kind of result is shown: its icon, its page, the parameter that names it, and of the result what it is."""

    icon: str
    page: str
    parameter: str
    by: str
    text: str = ""


_LOOKS: Final[Mapping[str, tuple[_Look, ...]]] = {
    "role": (_Look("id-badge-2", "/console/role", "name", "name"),),
    "user": (_Look("user", "/console/user", "name", "name"),),
    "group": (_Look("users-group", "/console/group", "name", "name"),),
    "provider": (_Look("building-bank", "/console/provider", "arn", "arn"),),
    "session": (_Look("clock-hour-4", "/console/session", "id", "id"),),
    "access-request": (_Look("hand-stop", "/console/access-request", "id", "id"),),
    "access-key": (_Look("book-2", "/console/records", "access_key_id", "id", "Records of access key {}"),),
    "request": (
        _Look("book-2", "/console/records", "request_id", "id", "Records of request {}"),
        _Look("help-circle", "/console/explain", "of", "id", "Why was request {} denied?"),
    ),
}


async def page(ctx: ConsoleContext) -> Response:
    """GET /console/find?text=…"""
    text, results, problem = ctx.value("text", 512), list[FoundLink](), ""
    if text:
        results += [*_pages(text, ctx)][:_PAGES]
        try:
            found = await ctx.perform("daypass:Find", find, text)
        except DaypassError as error:
            found, problem = [], await ctx.problem(error)
        results += [result for each in found for result in _links(each)]
    return ctx.page("find", "Find", text=text, results=results, problem=problem)


def _pages(text: str, ctx: ConsoleContext) -> Iterator[FoundLink]:
    for group, items in menu("", ctx.closed).groups:
        for item in items:
            if text.lower() in item.title.lower():
                yield FoundLink(item.icon, item.path, item.title, f"Page: {group.lower()}")


def _links(found: FoundOut) -> Iterator[FoundLink]:
    for look in _LOOKS[found.kind]:
        shown = look.text.format(found.name) if look.text else found.name
        href = address(look.page, **{look.parameter: getattr(found, look.by)})
        yield FoundLink(look.icon, href, shown, found.kind.replace("-", " ").capitalize())
