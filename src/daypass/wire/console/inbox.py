"""The inbox: what waits for the person's decision, their own requests, access that ends, and what was not delivered.

Open pages follow it by server-sent events. As those of the dashboards, each answer has at most one event, and the browser
asks again after the time in `retry`. While nothing has changed, an answer reads memory alone: it must never read the
database, and nothing of it is on the record.
Source: HTML Living Standard, 9.2 (server-sent events).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from daypass.domain.directory import Notification
from daypass.operations.access_requests import read
from daypass.operations.authorize import would_allow
from daypass.operations.management import arn_of
from daypass.operations.notifications import channels
from daypass.wire.console.context import ConsoleContext, Part
from daypass.wire.http import Response
from daypass.wire.web.render import HEADERS, arn_name, visible

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


async def _dead(ctx: ConsoleContext) -> Part[Sequence[Notification]]:
    """Notifications that could not be delivered, for those who may see them."""
    action, resource = "daypass:ListNotifications", arn_of(ctx.call.caller.account, "notification-channel", "*")
    if not all(await would_allow(ctx.env, ctx.call, [(action, resource)])):
        return Part()
    found = await ctx.attempt(action, channels.list_notifications, "", outcome="dead", limit=_MOST)
    return Part(found.value[0] if found.value is not None else None, found.problem)
