"""The OpenAPI document of the management API, made from the descriptions of its operations."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
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
    """The members of an error."""

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


# --- The reference page: /api/docs


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin-top:2.5rem;border-bottom:1px solid #8884}code{font:14px ui-monospace,monospace}"
    "b.m{display:inline-block;width:4.5rem}li{margin:.15rem 0}@media(prefers-color-scheme:dark){"
    "body{background:#111;color:#ddd}a{color:#8bf}}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(openapi: Mapping[str, Any]) -> str:
    """The HTML page of an OpenAPI document. Everything from the document is escaped."""
    info = openapi["info"]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>',
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info.get('description', ''))}</p>",
        '<p>For programs: <a href="/api/v1/openapi.json">openapi.json</a></p>',
        *_operations(openapi),
    ]
    return "".join(parts)


def _operations(openapi: Mapping[str, Any]) -> Iterator[str]:
    section = ""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            tag = operation["tags"][0]
            if tag != section:
                section = tag
                yield f"<h2>{escape(tag.title())}</h2>"
            yield f'<h3 id="{escape(operation["operationId"])}">{escape(operation["operationId"])}</h3>'
            yield f'<p><b class="m">{escape(method.upper())}</b><code>{escape(path)}</code></p>'
            yield f"<p>{escape(operation.get('description', ''))} Action: <code>daypass:{escape(operation['summary'])}</code></p>"
            yield from _members("Parameters", [(p["name"], p) for p in operation.get("parameters", ())], openapi)
            yield from _page_body(operation, openapi)


def _page_body(operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        schema = _resolved(content["schema"], openapi)
        yield from _members("Body (JSON)", list(schema.get("properties", {}).items()), openapi)


def _members(title: str, members: list[tuple[str, Mapping[str, Any]]], openapi: Mapping[str, Any]) -> Iterator[str]:
    if not members:
        return
    yield f"<p>{title}</p><ul>"
    for name, member in members:
        text = member.get("description") or _resolved(member.get("schema", {}), openapi).get("description", "")
        yield f"<li><code>{escape(name)}</code> {escape(text)}</li>"
    yield "</ul>"


def _resolved(schema: Mapping[str, Any], openapi: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if not reference:
        return schema
    found: Mapping[str, Any] = openapi["components"]["schemas"][reference.rpartition("/")[2]]
    return found
