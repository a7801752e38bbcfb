"""Serves the management API from the descriptions in `daypass.api`: routes, signatures, input, output, OpenAPI.

Every call is signed, and nothing of a request is interpreted before its signature has been verified. The engine decides
nothing: the operation does.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Annotated, Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta, Struct

from daypass import __version__
from daypass.api.operation import Input, InputField, Operation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Call
from daypass.wire.content import json_of, pairs_of, unique
from daypass.wire.endpoints.endpoint import Endpoint, invalid, make_input, read_text, shown
from daypass.wire.front import Front, RequestProgress, target_of
from daypass.wire.http import Request, Response, media_type
from daypass.wire.json_errors import JSON_ERRORS, MEDIA_TYPE

SERVICE: Final = "daypass"
ROOT: Final = "/api/v1"
MAX_BODY: Final = 262_144
MAX_VALUES: Final = 6_000
"""Members and items of a body, at all depths. The cursor of a tail has 5,000."""
_TOKENS: Final = 10.0  # that a call costs, relative to an STS request
_MAX_FIELDS: Final = 1_000
_MAX_QUERY: Final = 20  # parameters of a query on the record


class ManagementApi:
    """The handler of every path below `/api/`. `endpoints`: the table of operations."""

    def __init__(self, front: Front, endpoints: Sequence[Endpoint]) -> None:
        self._front = front
        self._by_start: defaultdict[str, list[Endpoint]] = defaultdict(list)
        for each in endpoints:
            self._by_start[each.operation.path.split("/")[1]].append(each)
        self._operations = [each.operation for each in endpoints]
        self._openapi: Mapping[str, Any] | None = None

    async def __call__(self, request: Request) -> Response:
        """Serves one request. Raises only what is unexpected."""
        path = request.raw_path.decode("latin-1")
        if request.method == "GET" and path in ("/api/docs", f"{ROOT}/openapi.json"):
            return self._described(path)
        found = self._fitting(path.removeprefix(ROOT)) if path.startswith(f"{ROOT}/") else []
        for endpoint in found:
            if endpoint.operation.method == request.method:
                return await self._serve(request, endpoint)
        return await self._unrouted(request, found)

    def _fitting(self, path: str) -> list[Endpoint]:
        """The endpoints of a path, whatever their method. A path without fields precedes one with fields."""
        near = self._by_start.get(path[1:].partition("/")[0], ())
        found = [each for each in near if each.operation.pattern.fullmatch(path)]
        exact = [each for each in found if each.operation.path == path]
        return exact or found

    async def _serve(self, request: Request, endpoint: Endpoint) -> Response:
        """No variable keeps an error: with its traceback it would be a cycle of a hundred objects for each refusal, and a
        flood of these held up all others while the collector ran (attack A432).
        """
        operation = endpoint.operation
        progress = RequestProgress(request, f"{SERVICE}:{operation.name}")
        try:
            if len(request.body) > MAX_BODY:
                raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {MAX_BODY} bytes.")
            call = await self._front.authenticated(progress, (SERVICE,), _TOKENS)
            result = await endpoint.perform(self._front.env, call, input_of(operation, request))
            return await self._answer(operation, call, result)
        except DaypassError as error:
            return await self._refuse(progress, error)

    async def _answer(self, operation: Operation, call: Call, result: Any) -> Response:
        name = f"{SERVICE}:{operation.name}"
        if operation.output is None:
            return Response(operation.status, b"", MEDIA_TYPE, operation=name)
        if not operation.items:
            answer = shown(operation.output, result)
        else:
            items, following = result if operation.paged else (result, "")
            await self._front.env.slices.turn(call.caller.account)  # a thousand records took 28 ms (attack A395)
            answer = {operation.items: [shown(operation.output, item) for item in items]}
            if operation.paged:
                answer["next"] = following
        return Response(operation.status, msgspec.json.encode(answer), MEDIA_TYPE, operation=name)

    async def _refuse(self, progress: RequestProgress, error: DaypassError, status: int = 0) -> Response:
        progress.detail = {**target_of(progress.request), "query": _query(progress.request)}
        return await self._front.refuse(progress, error, JSON_ERRORS, status=status)

    async def _unrouted(self, request: Request, found: Sequence[Endpoint]) -> Response:
        """Refuses an unknown path or method. The caller is not authenticated, so it is recorded as malformed."""
        if not found:
            return await self._refuse(
                RequestProgress(request), DaypassError(ErrorKind.UNKNOWN_OPERATION, "This path does not exist."), 404
            )
        refusal = DaypassError(ErrorKind.UNKNOWN_OPERATION, "This method is not allowed here.")
        response = await self._refuse(RequestProgress(request), refusal, 405)
        methods = ", ".join(sorted({each.operation.method for each in found}))
        return msgspec.structs.replace(response, headers=(*response.headers, (b"allow", methods.encode())))

    def _described(self, path: str) -> Response:
        document = self._openapi = self._openapi or openapi(self._operations)
        if path != "/api/docs":
            return Response(200, msgspec.json.encode(document), MEDIA_TYPE)
        headers = ((b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"))
        return Response(200, page(document).encode(), b"text/html; charset=utf-8", headers)


def input_of(operation: Operation, request: Request) -> Input:
    """The input of a request. Raises DaypassError: MALFORMED_REQUEST; VALIDATION, which names the field and its rule and does
    not repeat what was sent.
    """
    values: dict[str, Any] = {}
    for name, value in _body_of(operation, request).items():
        values[_known(operation, "body", name)] = value
    match = operation.pattern.fullmatch(request.raw_path.decode("latin-1").removeprefix(ROOT))
    assert match is not None
    texts = {"path": match.groupdict(), "query": unique(pairs_of(request.raw_query, _MAX_FIELDS))}
    for place, members in texts.items():
        for name, text in members.items():
            value = _segment(text) if place == "path" else text
            part = operation.parts[_known(operation, place, name)]
            values[name] = read_text(part.type, f"{place}.{name}", value)
    made: Input = make_input(operation, values)
    return made


def _known(operation: Operation, place: str, name: str) -> str:
    """The name of a field of this place. Raises DaypassError(VALIDATION)."""
    part = operation.parts.get(name)
    if part is None or part.place != place:
        raise invalid(f"{place}.{name[:64]}", "it is unknown")
    return name


def _body_of(operation: Operation, request: Request) -> Mapping[str, Any]:
    content = json_of(request.body, MAX_VALUES)
    if not any(operation.placed("body")):
        return {}
    if request.body and media_type(request.headers) != MEDIA_TYPE:
        raise invalid("body", f"the media type must be {MEDIA_TYPE.decode()}")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise invalid("body", "a JSON object is needed")
    return content


def _segment(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise invalid("path", "it is not UTF-8") from None


def _query(request: Request) -> dict[str, str]:
    """The parameters for the record; none when they are not well-formed."""
    try:
        pairs = pairs_of(request.raw_query, _MAX_FIELDS)
    except DaypassError:
        return {}
    return {name[:64]: _recorded(name, value) for name, value in pairs[:_MAX_QUERY]}


def _recorded(name: str, value: str) -> str:
    """A query parameter for the record. Those of a presigned request hold a session token and a signature (A100)."""
    return "***" if name.lower().startswith("x-amz-") else value[:512]


# --- The OpenAPI document of the management API, made from the descriptions of its operations


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


def _parameter(part: InputField) -> dict[str, Any]:
    schema = dict(part.schema)
    description = schema.pop("description", "")
    found: dict[str, Any] = {"name": part.name, "in": part.place, "required": part.required or part.place == "path"}
    if description:
        found["description"] = description
    return {**found, "schema": schema}


def _body(parts: Sequence[InputField]) -> dict[str, Any]:
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
