"""Credentials of a role for shells and files. They are made when the form is sent, and shown on that page only."""

from __future__ import annotations

import re
from typing import Final

from daypass.domain.errors import DaypassError
from daypass.operations.assume.assume_role import assume_role
from daypass.operations.assume.forms import AwsForm
from daypass.operations.assume.request import AssumeRequest, SessionRequest
from daypass.wire.body import environment, texts
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.context import ConsoleContext
from daypass.wire.http import Response

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
