"""Credentials of a role for shells and files. They are made when the form is sent, and shown on that page only."""

from __future__ import annotations

import re
from typing import Final

from daypass.domain.errors import DaypassError
from daypass.operations.assume.assume_role import assume_role
from daypass.operations.assume.forms import AwsForm
from daypass.operations.assume.request import AssumeRequest, SessionRequest
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.visit import ConsoleVisit
from daypass.wire.credentials import environment, texts
from daypass.wire.http import Response

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]")


async def form(visit: ConsoleVisit) -> Response:
    """GET /console/credentials?role=ARN"""
    return await _form_page(visit)


async def show(visit: ConsoleVisit) -> Response:
    """POST /console/credentials/show."""
    confirmation_page = await optional_confirmation(
        visit, "/console/credentials/show", "Confirm with MFA", "sts:AssumeRole"
    )
    if confirmation_page is not None:
        return confirmation_page
    try:
        minutes = visit.number("minutes")
        name = visit.value("session_name", 64) or _session_name(visit)
        session = SessionRequest(name, minutes * 60 if minutes else None, visit.value("policy", 20_480))
        request = AssumeRequest(visit.value("role"), session)
        issued = await visit.perform("sts:AssumeRole", assume_role, request, AwsForm())
    except DaypassError as error:
        return await _form_page(visit, await visit.problem(error))
    formats = texts(environment(issued, visit.visit.site.public_url, visit.console.region))
    return visit.page("credentials", "Your credentials", formats=formats, session=issued.session)


async def _form_page(visit: ConsoleVisit, problem: str = "") -> Response:
    return visit.page(
        "credentials_form",
        "Get credentials",
        role=visit.value("role"),
        session_name=visit.value("session_name", 64) or _session_name(visit),
        can_confirm=await visit.can_confirm(),
        problem=problem,
        values=visit.values,
    )


def _session_name(visit: ConsoleVisit) -> str:
    """The person's name as a role session name has it: 2 to 64 characters (STS API, roleSessionNameType)."""
    name = _NOT_IN_NAMES.sub("-", visit.call.caller.name)[:64]
    return name if len(name) >= 2 else f"{name}-session"
