"""The first page and the inbox: what a person has, may request, waits for and has to decide."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from daypass.domain.access.request import state_of
from daypass.domain.directory import Notification
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations import channels
from daypass.operations.access_requests import create, follow, read
from daypass.operations.assume.forms import AwsForm
from daypass.operations.assume.proofs import assume_role
from daypass.operations.assume.request import AssumeRequest, SessionRequest
from daypass.operations.authorize import would_allow
from daypass.operations.management import arn_of
from daypass.operations.sessions import list_sessions
from daypass.wire.body import environment, texts
from daypass.wire.console.approvals import show_sent
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.context import ConsoleContext, PagePart, to
from daypass.wire.console.navigation import HOME
from daypass.wire.http import Response
from daypass.wire.web.render import HEADERS, arn_name, visible

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
        may_request=requestable.value is None or any(requestable.value),
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


# --- Inbox


_RETRY_MS: Final = 2_000
_ANEW_MS: Final = (
    120_000  # after this time an answer is made anew: access ends, and notifications fail, without a change
)
_MOST: Final = 50
_ENDS_SOON_MS: Final = 900_000


async def page(ctx: ConsoleContext) -> Response:
    """GET /console/inbox."""
    own = await ctx.attempt("daypass:GetOwnAccess", read.get_own_access)
    waiting = await ctx.attempt("daypass:ListAccessRequests", read.list_requests, "", approvable=True, limit=_MOST)
    grants = own.value.grants if own.value is not None else ()
    ending = [grant for grant in grants if 0 < grant.ends_at <= ctx.call.now + _ENDS_SOON_MS]
    return ctx.page("inbox", "Inbox", own=own, waiting=waiting, ending=ending, dead=await _dead(ctx))


async def events(ctx: ConsoleContext) -> Response:
    """GET /console/inbox/events. `since`: the id of the last event that this browser knows."""
    known = [value.decode("latin-1") for name, value in ctx.page_context.request.headers if name == b"last-event-id"]
    changed = f"{ctx.live}-{ctx.call.now // _ANEW_MS}"
    if changed in (*known, ctx.value("since", 128)):
        return _event("")
    text = json.dumps(await _summary(ctx), separators=(",", ":"))
    return _event(f"id: {changed}\nevent: inbox\ndata: {text}\n")


def _event(lines: str) -> Response:
    return Response(200, f"retry: {_RETRY_MS}\n{lines}\n".encode("ascii"), b"text/event-stream", HEADERS)


async def _summary(ctx: ConsoleContext) -> dict[str, Any]:
    """How much there is to do, and each thing with the page that shows it. `ends`: when access ends, ms."""
    own = await ctx.attempt("daypass:GetOwnAccess", read.get_own_access)
    found = await ctx.attempt("daypass:ListAccessRequests", read.list_requests, "", approvable=True, limit=_MOST)
    views, _ = found.value or ([], "")
    request = "/console/access-request?id="
    items = [[f"{_who(view)} asks for {_roles(view)}", f"{request}{view.request.id}"] for view in views]
    dead = (await _dead(ctx)).value or ()
    items += [[f"Not delivered: {visible(each.event)}", "/console/inbox#dead"] for each in dead]
    ends = [
        [f"Your access to {arn_name(grant.role_arn)} ends soon", f"{request}{grant.request_id}", grant.ends_at]
        for grant in (own.value.grants if own.value is not None else ())
        if grant.ends_at
    ]
    return {"live": ctx.live, "items": items, "ends": ends}


def _who(view: Any) -> str:
    return arn_name(view.terms.beneficiary)


def _roles(view: Any) -> str:
    return ", ".join(arn_name(role.arn) for role in view.terms.roles)


async def _dead(ctx: ConsoleContext) -> PagePart[Sequence[Notification]]:
    """Notifications that could not be delivered, for those who may see them."""
    action, resource = "daypass:ListNotifications", arn_of(ctx.call.caller.account, "notification-channel", "*")
    if not all(await would_allow(ctx.env, ctx.call, [(action, resource)])):
        return PagePart()
    found = await ctx.attempt(action, channels.list_notifications, "", outcome="dead", limit=_MOST)
    return PagePart(found.value[0] if found.value is not None else None, found.problem)
