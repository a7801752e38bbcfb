"""The functions that serve the operations of the AWS wire, and how a result is rendered in any process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from daypass.ports import Call, Env
from daypass.wire.aws import models

OperationHandler: TypeAlias = Callable[[Env, Call, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Render: TypeAlias = Callable[[Mapping[str, Any]], bytes]


class RenderingHandler(Struct, frozen=True):
    """Serves an operation whose result is rendered where it is made: one that may be large in another process, and
    credentials while they are recorded.
    """

    run: Callable[[Env, Call, Mapping[str, Any], Render], Awaitable[bytes]]


def rendered(service: str, operation: str, request_id: str, as_json: bool, result: Mapping[str, Any]) -> bytes:  # noqa: FBT001  # by position, in a partial
    """The body of an answer. Raises LookupError for an operation that the service's model does not have."""
    found = models.load(service).operation(operation)
    if found is None:
        raise LookupError(f"{service} has no operation {operation}")
    return found.render_json(result, request_id) if as_json else found.render(result, request_id)
