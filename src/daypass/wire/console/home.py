"""The first page: what a person has now, may have at once, may request, and waits for; and ending and extending access."""

from __future__ import annotations

import re
from typing import Final

from daypass.domain.access.grant import state_of
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import create, follow, read
from daypass.operations.assume.assume_role import assume_role
from daypass.operations.assume.forms import AwsForm
from daypass.operations.assume.request import AssumeRequest, SessionRequest
from daypass.operations.sessions import list_sessions
from daypass.wire.body import environment, texts
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
    access = await ctx.attempt("daypass:GetOwnAccess", read.get_own_access)
    ready_after, requestable_after = ctx.value("ready_after"), ctx.value("requestable_after")
    ready = await ctx.attempt("daypass:ListAssumableRoles", list_sessions.list_assumable_roles, ready_after, _ROLES)
    requestable = await ctx.attempt(
        "daypass:ListRequestableRoles", read.list_requestable_roles, requestable_after, _ROLES
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


# --- Credentials of a role for shells and files


_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]")


async def form(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/credentials?role=ARN"""
    return ctx.page(
        "credentials_form",
        "Get credentials",
        role=ctx.value("role"),
        session_name=ctx.value("session_name", 64) or _session_name(ctx),
        can_confirm=await ctx.can_confirm(),
        problem=problem,
        values=ctx.values,
    )


async def show(ctx: ConsoleContext) -> Response:
    """POST /console/credentials/show."""
    confirmation_page = await optional_confirmation(
        ctx, "/console/credentials/show", "Confirm with MFA", "sts:AssumeRole"
    )
    if confirmation_page is not None:
        return confirmation_page
    try:
        minutes = ctx.number("minutes")
        name = ctx.value("session_name", 64) or _session_name(ctx)
        session = SessionRequest(name, minutes * 60 if minutes else None, ctx.value("policy", 20_480))
        request = AssumeRequest(ctx.value("role"), session)
        issued = await ctx.perform("sts:AssumeRole", assume_role, request, AwsForm())
    except DaypassError as error:
        return await form(ctx, await ctx.problem(error))
    formats = texts(environment(issued, ctx.page_context.site.public_url, ctx.console.region))
    return ctx.page("credentials", "Your credentials", formats=formats, session=issued.session)


def _session_name(ctx: ConsoleContext) -> str:
    """The person's name as a role session name has it: 2 to 64 characters (STS API, roleSessionNameType)."""
    name = _NOT_IN_NAMES.sub("-", ctx.call.caller.name)[:64]
    return name if len(name) >= 2 else f"{name}-session"
