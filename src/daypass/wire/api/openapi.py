"""The OpenAPI document of the management API, made from the descriptions of its operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from daypass import __version__
from daypass.api.operation import Operation, Part

_REFERENCE: Final = "#/components/schemas/{name}"
_ROOT: Final = "/api/v1"
_DESCRIPTION: Final = (
    "Every call is signed with AWS Signature Version 4 for the service name `daypass`, by any Daypass credentials, and "
    "authorized by policy: the action is `daypass:` and the name of the operation, the resource "
    "`arn:aws:daypass::ACCOUNT:KIND/NAME`. Times are milliseconds since the epoch, UTC."
)


class ErrorBody(Struct):
    """What is in an error."""

    code: Annotated[str, Meta(examples=["AccessDenied"])]
    message: str
    request_id: str
    encoded_authorization_message: str | None = None


class ErrorOut(Struct):
    """The answer to a refused call."""

    error: ErrorBody


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document. A summary is the name of an action, a description is for people."""
    kinds = [kind for each in operations for kind in (each.input, each.answer) if kind is not None]
    unique = list(dict.fromkeys([*kinds, ErrorOut]))
    _, components = msgspec.json.schema_components(unique, ref_template=_REFERENCE)
    inputs = {each.input.__name__ for each in operations}
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(_ROOT + each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Daypass management API", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": {name: found for name, found in components.items() if name not in inputs}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tags": [operation.section],
        "summary": operation.name,
        "description": operation.summary,
        "operationId": operation.operation_id,
    }
    parameters = [_parameter(part) for place in ("path", "query") for part in operation.placed(place)]
    if parameters:
        found["parameters"] = parameters
    body = list(operation.placed("body"))
    if body:
        found["requestBody"] = _body(body)
    success: dict[str, Any] = {"description": "Served."}
    if operation.answer is not None:
        success["content"] = _json({"$ref": _REFERENCE.format(name=operation.answer.__name__)})
    refused = {"content": _json({"$ref": _REFERENCE.format(name=ErrorOut.__name__)})}
    found["responses"] = {
        str(operation.status): success,
        "4XX": {"description": "Refused.", **refused},
        "5XX": {"description": "Failed.", **refused},
    }
    return found


def _parameter(part: Part) -> dict[str, Any]:
    schema = dict(part.schema)
    description = schema.pop("description", "")
    found: dict[str, Any] = {"name": part.name, "in": part.place, "required": part.required or part.place == "path"}
    if description:
        found["description"] = description
    return {**found, "schema": schema}


def _body(parts: Sequence[Part]) -> dict[str, Any]:
    required = [part.name for part in parts if part.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {part.name: part.schema for part in parts},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": _json(schema)}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
