"""The path of the AWS query protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.operations.crud.engine import perform, perform_rendered
from daypass.operations.iam.context import Operation
from daypass.operations.iam.service import IAM
from daypass.operations.iam.service import OPERATIONS as _TABLE
from daypass.ports import Call, Env
from daypass.wire.aws import sts
from daypass.wire.aws.dispatch import METHODS, AwsEndpoint, OperationHandler, Render, RenderingHandler, services_from
from daypass.wire.aws.models import load
from daypass.wire.front import Front
from daypass.wire.routing import Route


def aws_routes(front: Front, home: str = "") -> tuple[Route, ...]:
    """The one path. The operation follows from Version and Action. `home`: see `AwsEndpoint`."""
    endpoint = AwsEndpoint(front, services_from(load, {"sts": sts.OPERATIONS, "iam": OPERATIONS}), home)
    return (Route("/", endpoint, "The AWS query protocol: STS and IAM", METHODS, endpoint.errors),)


# --- IAM 2010-05-08 on the wire: which operations there are, and who runs them


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
