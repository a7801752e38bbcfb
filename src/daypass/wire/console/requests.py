"""The form for a new access request, with suggestions by need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from daypass.domain.access.terms import MAX_ROLES
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import create, own
from daypass.operations.access_requests.create import NewRequest
from daypass.wire.console.approvals import show_sent
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.context import ConsoleContext, Part
from daypass.wire.http import Response

_ROLES: Final = 100
_PATH: Final = "/console/request"
_ROLE_FIELD = re.compile(r"role\.[0-9]{1,4}")


async def form(ctx: ConsoleContext) -> Response:
    """GET /console/request. `role`: an ARN that is chosen already. `action`, `resource`: a need, to find roles by."""
    return await _page(ctx, chosen=tuple(filter(None, (ctx.value("role"),))))


async def send(ctx: ConsoleContext) -> Response:
    """POST /console/request/send."""
    page = await optional_confirmation(ctx, f"{_PATH}/send", "Confirm your request", "daypass:CreateAccessRequest")
    if page is not None:
        return page
    try:
        new = _new_request(ctx)
        view = await ctx.perform("daypass:CreateAccessRequest", create.create_request, new)
    except DaypassError as error:
        return await _page(ctx, chosen=_roles(ctx.values), problem=await ctx.problem(error))
    return show_sent(view)


def _roles(values: Mapping[str, str]) -> tuple[str, ...]:
    """The chosen roles: of the list, and one by its ARN."""
    listed = [value.strip() for name, value in values.items() if _ROLE_FIELD.fullmatch(name)]
    return tuple(dict.fromkeys(filter(None, (*listed, values.get("role", "").strip()))))


def _new_request(ctx: ConsoleContext) -> NewRequest:
    roles = _roles(ctx.values)
    if not roles:
        raise DaypassError(ErrorKind.VALIDATION, f"Choose 1 to {MAX_ROLES} roles.")
    minutes = ctx.number("minutes")
    return NewRequest(
        roles=roles,
        reason=" ".join(ctx.value("reason", 4096).split()),
        ticket=ctx.value("ticket"),
        seconds=minutes * 60 if minutes else None,
        policy=ctx.value("policy", 20_480),
        starts_at=ctx.time("starts") or 0,
        beneficiary=ctx.value("beneficiary"),
        break_glass=ctx.value("break_glass", 8) == "yes",
        confirmation=ctx.value("confirmation"),
        client_token=ctx.value("client_token", 128),
    )


async def _page(ctx: ConsoleContext, *, chosen: tuple[str, ...], problem: str = "") -> Response:
    requestable = await ctx.attempt(
        "daypass:ListRequestableRoles", own.list_requestable_roles, ctx.value("after"), _ROLES
    )
    action, resource = ctx.value("action"), ctx.value("resource")
    suggestions: Part[list[own.Suggestion]] = Part()
    if action:
        suggestions = await ctx.attempt("daypass:SuggestRoles", own.suggest_roles, action, resource or "*")
    listed = {role.arn for role in requestable.value[0]} if requestable.value else set()
    return ctx.page(
        "request",
        "Request access",
        requestable=requestable,
        chosen=chosen,
        other=next((arn for arn in chosen if arn not in listed), ""),
        suggestions=suggestions,
        action=action,
        resource=resource,
        can_confirm=await ctx.can_confirm(),
        client_token=ctx.value("client_token", 128) or ctx.env.ids.session(),
        values=ctx.values,
        problem=problem,
    )
