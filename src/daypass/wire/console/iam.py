"""IAM operations for pages of the console, by the names and members of the IAM API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.operations.crud.engine import perform
from daypass.operations.iam.service import IAM
from daypass.operations.iam.table import OPERATIONS
from daypass.ports import Call, Env
from daypass.wire.console.visit import ConsoleVisit, Part


async def iam(visit: ConsoleVisit, operation: str, **params: Any) -> Mapping[str, Any]:
    """The answer of an operation. Empty parameters are left out. Raises DaypassError."""
    return await visit.perform(f"iam:{operation}", _run, operation, _given(params))


async def iam_part(visit: ConsoleVisit, operation: str, **params: Any) -> Part[Mapping[str, Any]]:
    """As `iam`, for a part of a page."""
    return await visit.attempt(f"iam:{operation}", _run, operation, _given(params))


async def _run(env: Env, call: Call, operation: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return await perform(env, call, IAM, OPERATIONS[operation], params)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in ("", None)}
