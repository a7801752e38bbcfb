"""The ASGI application: limits, routes and the error boundary. Nothing that a request does may get past it as a traceback.

Raw ASGI 3 on purpose: this is every request's path. `/` is the AWS wire, exact paths go to small handlers, and prefixes to
whole ASGI applications that are built when first called. It parses no protocol and takes no decision.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.body import ClientGoneError, declared_length, read_body, too_large
from daypass.wire.http import CLIENT_CERTIFICATE, Handler, Header, Request, Response
from daypass.wire.origin import Origin

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Observe: TypeAlias = Callable[[str, str, float], None]

WHOLE_BODY = "daypass.body"
"""Key of the scope for a body that was there before the application was called; then `receive` does not give it again.
Who sets it has held the body against the Content-Length and the Transfer-Encoding that the headers declare.
"""

WHOLE_ANSWER = "daypass.answer"
"""Key of the scope for a function that answers at once, or returns False: then `send` must.

Its arguments are the status, the header lines as they go over the wire, and the body. The lines hold the Content-Length,
nothing else that frames the answer, and no text of a caller's: they are not looked at.
"""

_LINES = b"content-type: %b\r\ncontent-length: %d\r\nx-amzn-requestid: %b\r\n"

_INTERNAL = "InternalFailure"
_ROOT = (b"/", b"")
_NO_PATH = DaypassError(ErrorKind.UNKNOWN_OPERATION, "There is no such path.")
_NO_METHOD = DaypassError(ErrorKind.UNKNOWN_OPERATION, "This method is not allowed here.")
_CLOSE: Header = (b"connection", b"close")  # after a refusal, unread bytes of the body may still come


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one request may be. Bytes and seconds."""

    body: int = 1_048_576
    headers: int = 16_384
    target: int = 8_192
    body_seconds: float = 10.0


class AwsHandler(Protocol):
    """The handler of `/`: it answers in its protocol's form even what the application refuses."""

    async def __call__(self, request: Request) -> Response: ...
    async def refuse(self, request: Request, error: DaypassError) -> Response: ...
    def broken(self, request: Request) -> Response: ...


class Route(NamedTuple):
    """A handler of one exact path."""

    handler: Handler
    methods: frozenset[str] = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the application is given from outside.

    Attributes:
        clock: milliseconds since the epoch.
        new_id: a fresh request id.
        log: called with an event name and fields; `exc_info=True` where there is an exception.
        observe: called once for each answer with operation or route, error code ("" when served) and seconds.
    """

    clock: Callable[[], int]
    new_id: Callable[[], str]
    log: Callable[..., Any] = lambda *_, **__: None
    observe: Observe = lambda *_: None


class Application:
    """The ASGI application.

    Args:
        aws: the AWS wire, at `/`.
        hooks: clock, ids, log, metrics.
        routes: exact paths.
        mounts: path prefixes (`/api/`) to what builds their ASGI application; the longest prefix wins. A mounted
            application sees the whole path, and `daypass.request_id`, `daypass.source_ip`, `daypass.secure` in its scope.
        limits, trusted_proxies: see HttpLimits and Origin.
        lifespan: entered at start-up, left at shut-down.
    """

    def __init__(
        self,
        aws: AwsHandler,
        hooks: Hooks,
        *,
        routes: Mapping[str, Route] | None = None,
        mounts: Mapping[str, Callable[[], AsgiApp]] | None = None,
        limits: HttpLimits | None = None,
        trusted_proxies: Sequence[str] = (),
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    ) -> None:
        self._aws = aws
        self._hooks = hooks
        self._routes = {path.encode("ascii"): (path, route) for path, route in (routes or {}).items()}
        self._mounts = sorted((mounts or {}).items(), key=lambda item: -len(item[0]))
        self._built: dict[str, AsgiApp] = {}
        self._limits = limits or HttpLimits()
        self._origin = Origin(trusted_proxies)
        self._lifespan = lifespan

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI 3. It hands out the coroutine that serves: one of its own would be one more on every request's way."""
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        return self._other(scope["type"], receive, send)

    async def _other(self, kind: str, receive: Receive, send: Send) -> None:
        if kind == "lifespan":
            await self._live(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    # --- One request -----------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = self._head(scope)
        name, code = "", "ClientGone"
        try:
            root = request.raw_path in _ROOT
            mount = "" if root else self._mount_of(request, scope)
            if mount:
                name, code = mount, await self._mounted(mount, request, (scope, receive, send))
            else:
                usual = root and WHOLE_BODY in scope and not self._excess(request)
                response = await (self._aws(request) if usual else self._answer(request, scope, receive))
                name, code = response.operation, response.code
                await _send(scope, send, request, response)
        except ClientGoneError:
            pass
        except Exception:  # noqa: BLE001  # the error boundary
            code = _INTERNAL
            self._hooks.log("request failed unexpectedly", request_id=request.request_id, exc_info=True)
            await _send(scope, send, request, self._broken(request))
        self._hooks.observe(name, code, time.perf_counter() - started)

    def _mount_of(self, request: Request, scope: Scope) -> str:
        path = request.raw_path
        if path in self._routes:
            return ""
        return next((prefix for prefix, _ in self._mounts if scope["path"].startswith(prefix)), "")

    def _broken(self, request: Request) -> Response:
        return self._aws.broken(request) if request.raw_path in _ROOT else _plain(request, 500, _INTERNAL)

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
            self._hooks.new_id(),
            self._hooks.clock(),
            scope.get(CLIENT_CERTIFICATE, b""),
            via_proxy,
        )

    async def _answer(self, request: Request, scope: Scope, receive: Receive) -> Response:
        if request.raw_path in _ROOT:
            try:
                request = await self._complete(request, scope, receive)
            except DaypassError as error:
                response = await self._aws.refuse(request, error)
                return response._replace(headers=(*response.headers, _CLOSE))
            return await self._aws(request)
        found = self._routes.get(request.raw_path)
        if found is None:
            return await self._recorded(request, _NO_PATH, _plain(request, 404, "NotFound"))
        name, route = found
        if request.method not in route.methods:
            allow = ", ".join(sorted(route.methods)).encode("ascii")
            answer = _plain(request, 405, "MethodNotAllowed", (b"allow", allow))._replace(operation=name)
            return await self._recorded(request, _NO_METHOD, answer)
        try:
            request = await self._complete(request, scope, receive)
        except DaypassError as error:
            return await self._recorded(request, error, _refusal(request, error)._replace(operation=name))
        return (await route.handler(request))._replace(operation=name)

    async def _recorded(self, request: Request, error: DaypassError, answer: Response) -> Response:
        """A refusal of a path that is not the AWS wire's, put on the record first, as all are."""
        recorded = await self._aws.refuse(request, error)
        return answer if recorded.status < 500 else _plain(request, 503, "ServiceUnavailable")

    async def _complete(self, request: Request, scope: Scope, receive: Receive) -> Request:
        """The request with its body. Raises DaypassError when either is over a limit."""
        if excess := self._excess(request):
            raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, excess)
        if WHOLE_BODY in scope:  # what is here already needs no timer
            return request
        limits = self._limits
        declared = declared_length(request.headers, limits.body)
        return request._replace(body=await read_body(receive, declared, limits.body, limits.body_seconds))

    def _excess(self, request: Request) -> str:
        """What is over its limit, in words for the caller; "" when nothing is. A body that is not here yet is none."""
        limits = self._limits
        if len(request.raw_path) + len(request.raw_query) > limits.target:
            return f"The request target is over {limits.target} bytes."
        size = 0
        for name, value in request.headers:
            size += len(name) + len(value)
        if size > limits.headers:
            return f"The request headers are over {limits.headers} bytes."
        return too_large(limits.body).public if len(request.body) > limits.body else ""

    # --- Mounted applications --------------------------------------------------------------------------------------

    async def _mounted(self, prefix: str, request: Request, channel: tuple[Scope, Receive, Send]) -> str:
        """Runs a mounted application; returns what to observe. Its body is read here, so that it obeys the limits."""
        scope, receive, send = channel
        try:
            request = await self._complete(request, scope, receive)
        except DaypassError as error:
            response = await self._recorded(request, error, _refusal(request, error))
            await _send(scope, send, request, response)
            return response.code
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), _id_header(request)]}
            await send(message)

        if prefix not in self._built:
            self._built[prefix] = dict(self._mounts)[prefix]()
        seen = {"request_id": request.request_id, "source_ip": request.source_ip, "secure": request.secure}
        inner = {**scope, **{f"daypass.{name}": value for name, value in seen.items()}}
        try:
            await self._built[prefix](inner, _replay(request.body, receive), watched)
        except Exception:
            if not status:
                raise
            # Too late for an answer of ours: what was begun stays unfinished, which the client sees.
            self._hooks.log("request failed unexpectedly", request_id=request.request_id, exc_info=True)
            return _INTERNAL
        return "" if status < 400 else str(status)

    # --- Start and stop --------------------------------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        context = self._lifespan() if self._lifespan else None
        try:
            if context is not None:
                await context.__aenter__()
        except Exception as error:  # noqa: BLE001  # reported to the server, which then stops
            self._hooks.log("start failed", exc_info=True)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            if context is not None:
                await context.__aexit__(None, None, None)
        except Exception as error:  # noqa: BLE001  # reported to the server, which then stops
            self._hooks.log("stop failed", exc_info=True)
            await send({"type": "lifespan.shutdown.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})


_REFUSALS: Mapping[ErrorKind, tuple[int, str]] = {
    ErrorKind.REQUEST_TOO_LARGE: (413, "RequestEntityTooLarge"),
    ErrorKind.MALFORMED_REQUEST: (400, "MalformedInput"),
}


def _plain(request: Request, status: int, code: str, *headers: Header, message: str = "") -> Response:
    body = {"error": {"code": code, "message": message or code, "request_id": request.request_id}}
    return Response(status, json.dumps(body).encode("ascii"), b"application/json", headers, code=code)


def _refusal(request: Request, error: DaypassError) -> Response:
    status, code = _REFUSALS[error.kind]
    return _plain(request, status, code, _CLOSE, message=error.public)


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
    if answer is not None and not response.headers:
        lines = _LINES % (response.content_type, len(body), request.request_id.encode("ascii"))
        if answer(response.status, lines, body):
            return
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(body)),
        _id_header(request),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
