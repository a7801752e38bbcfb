"""Serves the management API from the descriptions in `daypass.api`: routes, signatures, input, output, OpenAPI.

Every call is signed, and nothing of a request is interpreted before its signature has been verified. The engine decides
nothing: the operation does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from daypass.api.operation import Input, Operation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Call
from daypass.wire.api.openapi import POLICY, openapi, page
from daypass.wire.content import json_of, pairs_of, unique
from daypass.wire.endpoints.endpoint import Endpoint, invalid, make_input, read_text, shown
from daypass.wire.front import Front, Progress, target_of
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
        progress = Progress(request, f"{SERVICE}:{operation.name}")
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

    async def _refuse(self, progress: Progress, error: DaypassError, status: int = 0) -> Response:
        progress.detail = {**target_of(progress.request), "query": _query(progress.request)}
        return await self._front.refuse(progress, error, JSON_ERRORS, status=status)

    async def _unrouted(self, request: Request, found: Sequence[Endpoint]) -> Response:
        """Refuses an unknown path or method. The caller is not authenticated, so it is recorded as malformed."""
        if not found:
            return await self._refuse(
                Progress(request), DaypassError(ErrorKind.UNKNOWN_OPERATION, "This path does not exist."), 404
            )
        refusal = DaypassError(ErrorKind.UNKNOWN_OPERATION, "This method is not allowed here.")
        response = await self._refuse(Progress(request), refusal, 405)
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
