"""The ASGI application: limits, routes and the error boundary. No request may cause a traceback to leave it.

It is raw ASGI 3 on purpose, because every request takes this path. It finds the row of the routes table, reads the body
within the limits and calls the row's handler. A DaypassError from a handler is recorded, then written in the row's
format. It parses no protocol and makes no decision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.body import ClientGoneError, declared_length, read_body, too_large
from daypass.wire.client_certificate import ClientAddress
from daypass.wire.front import ErrorFormat, Front, RequestProgress
from daypass.wire.http import (
    CLIENT_CERTIFICATE,
    HOLD,
    LATE,
    OVERDUE,
    REQUEST,
    WHOLE_ANSWER,
    WHOLE_BODY,
    FixedHeaders,
    Header,
    Request,
    Response,
)
from daypass.wire.json_errors import INTERNAL_CODE, JSON_ERRORS
from daypass.wire.routing import GET, Mount, Route, Routes

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Observe: TypeAlias = Callable[[str, str, float], None]

_LARGE_BODY: Final = 32_768
"""Bytes. Reading what is in a larger one may take milliseconds, so one of them begins in each iteration of the event loop."""
_LINES = b"content-type: %b\r\ncontent-length: %d\r\nx-amzn-requestid: %b\r\n"

_NO_PATH = DaypassError(ErrorKind.UNKNOWN_OPERATION, "This path does not exist.")
_BUSY = DaypassError(
    ErrorKind.OVERLOADED, "The server has too much to do. Try again later.", private={"reason": "queue"}
)
_TIMED_OUT = DaypassError(
    ErrorKind.OVERLOADED,
    "The request was not answered in time. It may have been carried out: look before you repeat it.",
    private={"reason": "deadline"},
)
_NO_STORE: Header = (b"cache-control", b"no-store")
_CLOSE: Header = (b"connection", b"close")  # after a refusal, unread bytes of the body may still arrive


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one request, in bytes and seconds."""

    body: int = 1_048_576
    anonymous_body: int = 262_144  # for a request that names no credentials of this installation
    headers: int = 16_384
    target: int = 8_192
    body_seconds: float = 10.0


class Application:
    """The ASGI application.

    Args:
        front: the front end; its ports give the time and the ids of requests.
        routes: what serves each path. A mounted application finds the `Request`, with its body, in the scope
        (`REQUEST`).
        log: called with an event name and fields; `exc_info=True` where there is an exception.
        observe: called once for each answer with operation or path, error code ("" when served) and seconds.
        limits, trusted_proxies: see HttpLimits and ClientAddress.
    """

    def __init__(
        self,
        front: Front,
        routes: Routes,
        *,
        log: Callable[..., Any] = lambda *_, **__: None,
        observe: Observe = lambda *_: None,
        limits: HttpLimits | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self.routes = routes
        self._find_exact = routes.find_exact  # of nearly all requests
        self._front = front
        self._now = front.env.clock.now
        self._new_id = front.env.ids.request
        self._log = log
        self._observe = observe
        self._limits = limits or HttpLimits()
        self._small = min(_LARGE_BODY, self._limits.anonymous_body)
        self._origin = ClientAddress(trusted_proxies)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI 3. It returns the serving coroutine, because a coroutine here would be one more for every request."""
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        return _close(scope["type"], receive, send)

    # --- One request -----------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = self._head(scope)
        row = self._find_exact(request.raw_path) or self.routes.find(request.raw_path)
        errors, name = (JSON_ERRORS, "") if row is None else (row.errors, row.operation or row.path)
        code = "ClientGone"
        try:
            if LATE in scope:
                response = self._front.overloaded(request, _BUSY, errors)
            elif isinstance(row, Mount):
                code = await self._mounted(row, request, (scope, receive, send))
                return
            else:
                try:
                    response = await self._respond(row, request, scope, receive)
                except DaypassError as error:
                    operation = row.operation if row is not None else ""
                    response = await self._front.refuse(RequestProgress(request, operation), error, errors)
            name, code = response.operation or name, response.code
            if response.hold:
                scope[HOLD] = response.hold
            await _send(scope, send, request, response)
        except ClientGoneError:
            pass
        except asyncio.CancelledError:
            if not scope.pop(OVERDUE, False):
                raise
            if task := asyncio.current_task():
                task.uncancel()  # the request is answered nevertheless
            response = self._front.overloaded(request, _TIMED_OUT, errors)
            code = response.code
            await _send(scope, send, request, response)
        except Exception:  # noqa: BLE001  # the error boundary
            code = INTERNAL_CODE
            self._log("request failed unexpectedly", request_id=request.request_id, exc_info=True)
            await _send(scope, send, request, errors.broken(request))
        finally:
            self._observe(name, code, time.perf_counter() - started)

    def _head(self, scope: Scope) -> Request:
        headers: list[Header] = scope["headers"]
        source_ip, secure, via_proxy = self._origin.of(scope.get("client"), scope.get("scheme", "http"), headers)
        return Request(
            scope["method"],
            scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape"),
            scope.get("query_string", b""),
            headers,
            scope.get(WHOLE_BODY) or b"",
            source_ip,
            secure,
            self._new_id(),
            self._now(),
            scope.get(CLIENT_CERTIFICATE, b""),
            via_proxy,
        )

    def _respond(self, row: Route | None, request: Request, scope: Scope, receive: Receive) -> Awaitable[Response]:
        """The handler's response. Nearly all requests are complete and within the limits here."""
        if row is None or (row.methods and request.method not in row.methods):
            return self._refuse_target(row, request)
        if WHOLE_BODY in scope and len(request.body) <= self._small and not self._excess(request):
            return row.handler(request)
        return self._read_first(row, request, scope, receive)

    async def _read_first(self, row: Route, request: Request, scope: Scope, receive: Receive) -> Response:
        try:
            request = await self._complete(request, scope, receive)
        except DaypassError as error:
            return await self._refuse_unread(request, error, row.errors, row.operation)
        return await row.handler(request)

    async def _refuse_target(self, row: Route | None, request: Request) -> Response:
        """Refuses a path without a route, or a method that the route does not have. A form's address leads to its page."""
        if row is None:
            return await self._front.refuse(RequestProgress(request), _NO_PATH, JSON_ERRORS)
        if row.page and request.method in GET:
            query = b"?" + request.raw_query if request.raw_query else b""
            return Response(303, b"", b"text/plain", ((b"location", row.page.encode("ascii") + query), _NO_STORE))
        allowed = ", ".join(sorted(row.methods))
        error = DaypassError(ErrorKind.MALFORMED_REQUEST, f"The methods allowed here are: {allowed}.")
        response = await self._front.refuse(RequestProgress(request, row.operation), error, row.errors, status=405)
        return replace(response, headers=(*response.headers, (b"allow", allowed.encode("ascii"))))

    async def _refuse_unread(
        self, request: Request, error: DaypassError, errors: ErrorFormat, operation: str
    ) -> Response:
        """Refuses a request whose body is not read completely."""
        response = await self._front.refuse(RequestProgress(request, operation), error, errors)
        return replace(response, headers=(*response.headers, _CLOSE))

    async def _complete(self, request: Request, scope: Scope, receive: Receive) -> Request:
        """The request with its body, in its turn. Raises DaypassError when either is over a limit."""
        request = await self._with_body(request, scope, receive)
        if len(request.body) > _LARGE_BODY:
            await self._front.env.slices.begin(request.source.lane)
        return request

    async def _with_body(self, request: Request, scope: Scope, receive: Receive) -> Request:
        if excess := self._excess(request):
            raise excess
        limits = self._limits
        if WHOLE_BODY in scope:  # a body that is already here needs no timer
            if len(request.body) > limits.anonymous_body and not await self._front.names_credentials(request):
                raise _needs_credentials(limits.anonymous_body)
            return request
        declared = declared_length(request.headers, limits.body)
        most = limits.body
        if not 0 <= declared <= limits.anonymous_body and not await self._front.names_credentials(request):
            most = min(limits.body, limits.anonymous_body)
        excess_of = too_large if most == limits.body else _needs_credentials
        if declared > most:
            raise excess_of(most)
        return replace(request, body=await read_body(receive, declared, most, limits.body_seconds, excess_of))

    def _excess(self, request: Request) -> DaypassError | None:
        """The refusal of a request that exceeds a limit. A body that has not arrived yet counts as empty."""
        limits = self._limits
        if len(request.raw_path) + len(request.raw_query) > limits.target:
            return DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request target is over {limits.target} bytes.")
        if sum(map(len, chain.from_iterable(request.headers))) > limits.headers:
            return DaypassError(ErrorKind.HEADERS_TOO_LARGE, f"The request headers are over {limits.headers} bytes.")
        return too_large(limits.body) if len(request.body) > limits.body else None

    # --- Mounted applications --------------------------------------------------------------------------------------

    async def _mounted(self, row: Mount, request: Request, channel: tuple[Scope, Receive, Send]) -> str:
        """Runs a mounted application; returns the code to observe. Its body is read here, so that it obeys the
        limits.
        """
        scope, receive, send = channel
        try:
            request = await self._complete(request, scope, receive)
        except DaypassError as error:
            response = await self._refuse_unread(request, error, row.errors, "")
            await _send(scope, send, request, response)
            return response.code
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), _id_header(request)]}
            await send(message)

        try:
            await row.app({**scope, REQUEST: request}, _replay(request.body, receive), watched)
        except Exception:
            if not status:
                raise
            # Too late for another response: the one begun stays incomplete, which the client detects.
            self._log("request failed unexpectedly", request_id=request.request_id, exc_info=True)
            return INTERNAL_CODE
        return "" if status < 400 else str(status)


async def _close(kind: str, receive: Receive, send: Send) -> None:
    """Ends a connection that is not plain HTTP."""
    if kind == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})


def _needs_credentials(most: int) -> DaypassError:
    return DaypassError(
        ErrorKind.REQUEST_TOO_LARGE,
        f"The request body is over {most} bytes, and the request names no valid credentials.",
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that is already there, then whatever else comes (a disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _id_header(request: Request) -> Header:
    return b"x-amzn-requestid", request.request_id.encode("ascii")


async def _send(scope: Scope, send: Send, request: Request, response: Response) -> None:
    body = response.body
    answer = scope.get(WHOLE_ANSWER)
    more = response.headers
    fixed = more.lines if isinstance(more, FixedHeaders) else b""
    if answer is not None and (fixed or not more):
        lines = _LINES % (response.content_type, len(body), request.request_id.encode("ascii"))
        if answer(response.status, lines + fixed, body):
            return
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(body)),
        _id_header(request),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
