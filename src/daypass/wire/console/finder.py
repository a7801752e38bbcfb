"""Finds anything: pages of the menu, and what the operation Find knows, as links. Ctrl-K asks it while somebody types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, NamedTuple

from daypass.api.access import FoundOut
from daypass.domain.errors import DaypassError
from daypass.operations.access.find import find
from daypass.operations.access_requests.read import list_requestable_roles
from daypass.operations.sessions.list_sessions import list_assumable_roles
from daypass.wire.console.context import ConsoleContext, address
from daypass.wire.console.navigation import menu
from daypass.wire.http import Response
from daypass.wire.web.render import arn_name

_PAGES: Final = 4  # of the menu that are shown
_ROLES: Final = "/console/roles"
_LOOKED_AT: Final = 100  # roles, of those that a person may use and may request


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
    "approval-rule": (_Look("shield-lock", "/console/rule", "name", "name"),),
    "client": (_Look("apps", "/console/client", "client_id", "id"),),
    "resource-server": (_Look("server", "/console/resource-server", "identifier", "id"),),
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
        if _ROLES in ctx.closed:
            results += [each async for each in _own_roles(ctx, text.lower())]
    return ctx.page("find", "Find", text=text, results=results, problem=problem)


def _pages(text: str, ctx: ConsoleContext) -> Iterator[FoundLink]:
    for group, items in menu("", ctx.closed).groups:
        for item in items:
            if text.lower() in item.title.lower():
                yield FoundLink(item.icon, item.path, item.title, f"Page: {group.lower()}")


async def _own_roles(ctx: ConsoleContext, text: str) -> AsyncIterator[FoundLink]:
    """The roles that a person may use or request, for those who may not list roles."""
    ready = await ctx.attempt("daypass:ListAssumableRoles", list_assumable_roles, limit=_LOOKED_AT)
    requestable = await ctx.attempt("daypass:ListRequestableRoles", list_requestable_roles, limit=_LOOKED_AT)
    for page, said, part in (("credentials", "Get credentials of", ready), ("request", "Request", requestable)):
        for role in part.value[0] if part.value is not None else ():
            if text in arn_name(role.arn).lower():
                href = address(f"/console/{page}", role=role.arn)
                yield FoundLink("id-badge-2", href, f"{said} {arn_name(role.arn)}", "Role")


def _links(found: FoundOut) -> Iterator[FoundLink]:
    for look in _LOOKS[found.kind]:
        shown = look.text.format(found.name) if look.text else found.name
        href = address(look.page, **{look.parameter: getattr(found, look.by)})
        yield FoundLink(look.icon, href, shown, found.kind.replace("-", " ").capitalize())
