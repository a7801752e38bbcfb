"""The first page: what a person has now, may have at once, may request, and waits for; and ending and extending access."""

from __future__ import annotations

from daypass.domain.access.grant import state_of
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import create, follow, own, read
from daypass.operations.sessions import list_sessions
from daypass.wire.console.approvals import show_sent
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.navigation import HOME
from daypass.wire.http import Response

_ROLES = 100  # roles that one page looks through


async def home(ctx: ConsoleContext) -> Response:
    """GET /console/, which also gets every path below it that no other page has."""
    if ctx.page_context.request.raw_path != HOME.encode("ascii"):
        ctx.page_context.progress.operation = ""  # nothing of the person's access was asked for
        raise DaypassError(ErrorKind.NOT_FOUND, "The console has no such page.")
    access = await ctx.attempt("daypass:GetOwnAccess", own.get_own_access)
    ready_after, requestable_after = ctx.value("ready_after"), ctx.value("requestable_after")
    ready = await ctx.attempt("daypass:ListAssumableRoles", list_sessions.list_assumable_roles, ready_after, _ROLES)
    requestable = await ctx.attempt(
        "daypass:ListRequestableRoles", own.list_requestable_roles, requestable_after, _ROLES
    )
    own_access = access.value
    grants = [] if own_access is None else [(grant, state_of(grant, ctx.call.now).value) for grant in own_access.grants]
    return ctx.page(
        "home",
        f"Home ({len(own_access.waiting)})" if own_access is not None and own_access.waiting else "Home",
        access=access,
        grants=grants,
        requests=() if own_access is None else own_access.requests,
        ready=ready,
        requestable=requestable,
    )


async def to_home(_: ConsoleContext) -> Response:
    """GET /console."""
    return to(HOME)


async def finish(ctx: ConsoleContext) -> Response:
    """POST /console/access-request/done: ends the access of a request, with its sessions."""
    await ctx.perform("daypass:FinishAccessRequest", follow.finish_request, ctx.required("request", 64))
    return to(HOME, done="ended")


async def extend_form(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/extend?request=ID"""
    request = ctx.value("request", 64)
    view = await ctx.perform("daypass:GetAccessRequest", read.get_request, "", request)
    shown = {"view": view, "can_confirm": await ctx.can_confirm(), "values": ctx.values}
    return ctx.page("extend", "Extend access", problem=problem, **shown)


async def extend(ctx: ConsoleContext) -> Response:
    """POST /console/extend/send: requests more time for access that the person has."""
    page = await optional_confirmation(
        ctx, "/console/extend/send", "Confirm your request", "daypass:ExtendAccessRequest"
    )
    if page is not None:
        return page
    try:
        view = await ctx.perform(
            "daypass:ExtendAccessRequest",
            create.extend_request,
            "",
            ctx.value("request", 64),
            ctx.number("minutes") * 60,
            ctx.value("reason"),
        )
    except DaypassError as error:
        return await extend_form(ctx, await ctx.problem(error))
    return show_sent(view)
