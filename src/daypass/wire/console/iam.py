"""Operations of IAM and of IAM Roles Anywhere for pages of the console, by the names and members of their APIs.

Parameters are checked by the service models first, as for a signed request: what a form cannot say, no API call could say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud_engine import perform
from daypass.operations.iam.paging import marker_before
from daypass.operations.iam.service import IAM, OPERATIONS
from daypass.operations.rolesanywhere.table import OPERATIONS as OF_ROLES_ANYWHERE
from daypass.operations.rolesanywhere.table import ROLES_ANYWHERE
from daypass.ports import Call, Env
from daypass.wire.console.context import Console, ConsoleContext, PagePart
from daypass.wire.web.context import ParameterCheck

_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]+")


async def iam(ctx: ConsoleContext, operation: str, **params: Any) -> Mapping[str, Any]:
    """The answer of an operation. Empty parameters are left out, but for names. Raises DaypassError."""
    return await ctx.perform(f"iam:{operation}", _run_iam, operation, _without_empty(params), ctx.console.check)


async def iam_part(ctx: ConsoleContext, operation: str, **params: Any) -> PagePart[Mapping[str, Any]]:
    """As `iam`, for a part of a page."""
    return await ctx.attempt(f"iam:{operation}", _run_iam, operation, _without_empty(params), ctx.console.check)


async def roles_anywhere(ctx: ConsoleContext, operation: str, **params: Any) -> Mapping[str, Any]:
    """As `iam`, for an operation of IAM Roles Anywhere."""
    given = _without_empty(params)
    return await ctx.perform(f"rolesanywhere:{operation}", _run_roles_anywhere, operation, given, ctx.console)


async def _run_iam(
    env: Env, call: Call, operation: str, params: Mapping[str, Any], check: ParameterCheck
) -> Mapping[str, Any]:
    return await perform(env, call, IAM, OPERATIONS[operation], check("iam", operation, params))


async def _run_roles_anywhere(
    env: Env, call: Call, operation: str, params: Mapping[str, Any], console: Console
) -> Mapping[str, Any]:
    """Performs a call in the region that the console shows."""
    checked = console.check("rolesanywhere", operation, params)
    call = replace(call, facts=replace(call.facts, region=console.region))
    return await perform(env, call, ROLES_ANYWHERE, OF_ROLES_ANYWHERE[operation], checked)


def page_marker(ctx: ConsoleContext, scope: str) -> str:
    """The start of a page of an IAM list: after the page before it, or at the names that begin with the field `start`."""
    start = ctx.value("start", 64).lower()
    if start and not _NAME.fullmatch(start):
        raise DaypassError(ErrorKind.VALIDATION, "Names have letters, digits and _+=,.@- only.")
    return ctx.value("after") or marker_before(scope, start)


def _without_empty(params: Mapping[str, Any]) -> dict[str, Any]:
    """Names stay: operations on users that are given none act on the caller. The check refuses empty ones."""
    return {name: value for name, value in params.items() if value not in ("", None) or name.endswith("Name")}
