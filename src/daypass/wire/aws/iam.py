"""IAM 2010-05-08 on the wire: which operations there are, and who runs them. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from daypass.operations.iam.driver import perform
from daypass.operations.iam.table import OPERATIONS as _TABLE
from daypass.operations.iam.work import Operation
from daypass.ports import Call, Env

OperationHandler: TypeAlias = Callable[[Env, Call, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


def _handler(operation: Operation) -> OperationHandler:
    async def handle(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return await perform(env, call, operation, params)

    return handle


OPERATIONS: Final[Mapping[str, OperationHandler]] = {name: _handler(row) for name, row in _TABLE.items()}
"""Supported operations by name. Any other answers that it is not supported."""
