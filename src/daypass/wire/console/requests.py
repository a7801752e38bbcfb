"""The form for a new access request, with suggestions by need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from daypass.domain.access.terms import MAX_ROLES
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.broker import create, own, suggest
from daypass.operations.broker.create import NewRequest
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.visit import ConsoleVisit, Part, to
from daypass.wire.http import Response

_ROLES: Final = 100
_PATH: Final = "/console/request"
_ROLE_FIELD = re.compile(r"role\.[0-9]{1,4}")


async def form(visit: ConsoleVisit) -> Response:
    """GET /console/request. `role`: an ARN that is chosen already. `action`, `resource`: a need, to find roles by."""
    return await _page(visit, chosen=tuple(filter(None, (visit.value("role"),))))


async def send(visit: ConsoleVisit) -> Response:
    """POST /console/request/send."""
    page = await optional_confirmation(visit, f"{_PATH}/send", "Confirm your request", "daypass:CreateAccessRequest")
    if page is not None:
        return page
    try:
        new = _new_request(visit)
        made = await visit.perform("daypass:CreateAccessRequest", create.create_request, new)
    except DaypassError as error:
        return await _page(visit, chosen=_roles(visit.values), problem=await visit.problem(error))
    return to("/console/access-request", id=made.request.id, done="requested")


def _roles(values: Mapping[str, str]) -> tuple[str, ...]:
    """The chosen roles: of the list, and one by its ARN."""
    listed = [value.strip() for name, value in values.items() if _ROLE_FIELD.fullmatch(name)]
    return tuple(dict.fromkeys(filter(None, (*listed, values.get("role", "").strip()))))


def _new_request(visit: ConsoleVisit) -> NewRequest:
    roles = _roles(visit.values)
    if not roles:
        raise DaypassError(ErrorKind.VALIDATION, f"Choose 1 to {MAX_ROLES} roles.")
    minutes = visit.number("minutes")
    return NewRequest(
        roles=roles,
        reason=" ".join(visit.value("reason", 4096).split()),
        ticket=visit.value("ticket"),
        seconds=minutes * 60 if minutes else None,
        policy=visit.value("policy", 20_480),
        starts_at=visit.time("starts") or 0,
        beneficiary=visit.value("beneficiary"),
        break_glass=visit.value("break_glass", 8) == "yes",
        confirmation=visit.value("confirmation"),
        client_token=visit.value("client_token", 128),
    )


async def _page(visit: ConsoleVisit, *, chosen: tuple[str, ...], problem: str = "") -> Response:
    requestable = await visit.attempt(
        "daypass:ListRequestableRoles", own.list_requestable_roles, visit.value("after"), _ROLES
    )
    action, resource = visit.value("action"), visit.value("resource")
    suggestions: Part[list[suggest.Suggestion]] = Part()
    if action:
        suggestions = await visit.attempt("daypass:SuggestRoles", suggest.suggest_roles, action, resource or "*")
    listed = {role.arn for role in requestable.value[0]} if requestable.value else set()
    return visit.page(
        "request",
        "Request access",
        requestable=requestable,
        chosen=chosen,
        other=next((arn for arn in chosen if arn not in listed), ""),
        suggestions=suggestions,
        action=action,
        resource=resource,
        can_confirm=await visit.can_confirm(),
        client_token=visit.value("client_token", 128) or visit.env.ids.session(),
        values=visit.values,
        problem=problem,
    )
