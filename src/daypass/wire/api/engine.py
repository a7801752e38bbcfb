"""Serves the management API from the descriptions in `daypass.api`: routes, signatures, input, output, OpenAPI.

Every call is signed, and nothing of a request is interpreted before its signature has been verified. The engine decides
nothing: the operation does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import inspect

from daypass.api.operation import Input, Operation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Call, Env
from daypass.wire.api import docs
from daypass.wire.api.openapi import openapi
from daypass.wire.api.shown import shown
from daypass.wire.content import json_of
from daypass.wire.form import pairs_of, unique
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

Perform: TypeAlias = Callable[[Env, Call, Any], Awaitable[Any]]
"""Performs an operation with its input. It returns the answer, or what has the attributes of the answer; of a list, the
items, or the items and the cursor of the next page.
"""


class Endpoint(NamedTuple):
    """An operation and the function that performs it."""

    operation: Operation
    perform: Perform


class ManagementApi:
    """The handler of every path below `/api/`. `endpoints`: the table of operations."""

    def __init__(self, front: Front, endpoints: Sequence[Endpoint]) -> None:
        self._front = front
        self._by_start: defaultdict[str, list[Endpoint]] = defaultdict(list)
        for each in endpoints:
            msgspec.json.Decoder(each.operation.input)  # two threads must not describe a struct at the same time
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
        headers = ((b"content-security-policy", docs.POLICY.encode()), (b"x-content-type-options", b"nosniff"))
        return Response(200, docs.page(document).encode(), b"text/html; charset=utf-8", headers)


def fields_of(given: Input, *without: str) -> dict[str, Any]:
    """The fields of an input except `without`, for an operation whose parameters have the same names. Lists become tuples."""
    found = {name: getattr(given, name) for name in given.__struct_fields__ if name not in without}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def input_of(operation: Operation, request: Request) -> Input:
    """The input of a request. Raises DaypassError: MALFORMED_REQUEST; VALIDATION, which names the field and its rule and does
    not repeat what was sent.
    """
    values = _body_of(operation, request)
    query = unique(pairs_of(request.raw_query, _MAX_FIELDS))
    match = operation.pattern.fullmatch(request.raw_path.decode("latin-1").removeprefix(ROOT))
    assert match is not None
    path = {name: _segment(text) for name, text in match.groupdict().items()}
    return build_input(operation, {"path": path, "query": query, "body": values})


def _body_of(operation: Operation, request: Request) -> Mapping[str, Any]:
    content = json_of(request.body, MAX_VALUES)
    if not any(operation.placed("body")):
        return {}
    if request.body and media_type(request.headers) != MEDIA_TYPE:
        raise _invalid("body", f"the media type must be {MEDIA_TYPE.decode()}")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _invalid("body", "a JSON object is needed")
    return content


def build_input(operation: Operation, given: Mapping[str, Mapping[str, Any]]) -> Input:
    """The input from the values of each place: path, query and body. Those of path and query are texts. Raises
    DaypassError(VALIDATION).
    """
    values: dict[str, Any] = {}
    for place, members in given.items():
        for name, value in members.items():
            part = operation.parts.get(name)
            if part is None or part.place != place:
                raise _invalid(f"{place}.{name[:64]}", "it is unknown")
            values[name] = value if place == "body" else _read(part.type, f"{place}.{name}", value)
    try:
        return msgspec.convert(values, operation.input)  # noqa: TID251  # described in ManagementApi
    except msgspec.ValidationError as error:
        raise _invalid(*_fault(operation, str(error))) from None


def _read(kind: inspect.Type, where: str, text: str) -> Any:
    """The value of a text in a path or query."""
    if isinstance(kind, inspect.BoolType):
        if text not in ("true", "false", "1", "0"):
            raise _invalid(where, "true or false is needed")
        return text in ("true", "1")
    if isinstance(kind, inspect.IntType):
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
            raise _invalid(where, "a whole number is needed")
        return int(text)
    return text


def _segment(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _invalid("path", "it is not UTF-8") from None


def _fault(operation: Operation, message: str) -> tuple[str, str]:
    """Where the fault is, and the rule. msgspec repeats an invalid value of an enumeration."""
    rule, _, path = message.partition(" - at `$")
    where = path.strip(".`")
    first = where.partition(".")[0].partition("[")[0]
    if rule.startswith("Invalid enum value"):
        options = operation.parts[first].schema.get("enum") if first in operation.parts and first == where else None
        rule = f"it must be one of: {', '.join(map(str, options))}" if options else "it has an unknown value"
    if rule.startswith("Object contains unknown field"):
        rule = "it has an unknown member"
    place = operation.parts[first].place if first in operation.parts else "body"
    return (f"{place}.{where}" if where else place)[:256], rule


def _invalid(where: str, rule: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, f"{where}: {rule}"[:1024])


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
