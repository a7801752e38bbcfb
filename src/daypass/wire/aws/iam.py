"""IAM 2010-05-08 on the wire: which operations there are, and who runs them. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.operations.crud.engine import perform, perform_rendered
from daypass.operations.iam.context import Operation
from daypass.operations.iam.service import IAM
from daypass.operations.iam.service import OPERATIONS as _TABLE
from daypass.ports import Call, Env
from daypass.wire.aws.handler import OperationHandler, Render, RenderingHandler


def _handler(operation: Operation) -> OperationHandler | RenderingHandler:
    async def handle(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return await perform(env, call, IAM, operation, params)

    async def rendered(env: Env, call: Call, params: Mapping[str, Any], render: Render) -> bytes:
        return await perform_rendered(env, call, IAM, operation, params, render)

    return RenderingHandler(rendered) if operation.heavy and operation.read is not None else handle


OPERATIONS: Final[Mapping[str, OperationHandler | RenderingHandler]] = {
    name: _handler(row) for name, row in _TABLE.items()
}
"""Supported operations by name. Any other answers that it is not supported."""
