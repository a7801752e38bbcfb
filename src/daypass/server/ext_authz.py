"""Envoy's external authorization over gRPC, at a separate port: each check becomes a request to `/gateway/ext_authz/`.

So limits, decisions, the record and metrics are those of HTTP. The port has no TLS and no authentication: only proxies may
reach it. A check that cannot be answered is refused.
Source: Envoy, envoy.service.auth.v3.Authorization.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from daypass.grpc_server import Call, GrpcError, GrpcServer, Status
from daypass.observability import logs
from daypass.protobuf import contents, fields, grouped, message
from daypass.server.runtime import Receive, Send
from daypass.wire.http import WHOLE_BODY

_METHOD: Final = "/envoy.service.auth.v3.Authorization/Check"
_AUDIENCE: Final = b"daypass-audience"
_PLACE: Final = "/gateway/ext_authz/"
_CONNECTIONS: Final = 1024
_SECONDS: Final = 5.0
_ATTRIBUTES, _REQUEST, _HTTP = 1, 4, 2
_HTTP_METHOD, _HTTP_HEADERS, _HTTP_PATH, _HTTP_HOST = 2, 3, 4, 5
_OVERWRITE: Final = 2
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE: Final = re.compile(rb"[^\0\r\n]*")
_CODES: Final[Mapping[int, Status]] = {200: Status.OK, 401: Status.UNAUTHENTICATED, 503: Status.UNAVAILABLE}
_SHOWN: Final = frozenset({"www-authenticate", "dpop-nonce", "retry-after", "content-type"})

Asgi = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class ExtAuthzPort:
    """Serves checks at a listening socket, in the running event loop, until it is closed."""

    def __init__(self, serve: Asgi) -> None:
        self._serve = serve
        self._server = GrpcServer(
            {_METHOD: self._check},
            peer_of=lambda transport: transport.get_extra_info("peername"),
            connections=_CONNECTIONS,
            group_of=lambda _: None,
            seconds=_SECONDS,
        )

    async def start(self, sock: socket.socket) -> None:
        await self._server.start(sock.dup())

    async def close(self) -> None:
        """Closes the port and its connections, after the checks that have begun."""
        await self._server.close()

    async def _check(self, call: Call) -> bytes:
        try:
            scope = scope_of(call.message, call.only(_AUDIENCE))
        except ValueError:
            raise GrpcError(Status.INVALID_ARGUMENT, "the check cannot be read") from None
        scope["client"] = call.peer
        return reply_of(*await self._answered(scope))

    async def _answered(self, scope: dict[str, Any]) -> tuple[int, dict[str, str], str]:
        sent: list[Mapping[str, Any]] = []

        async def send(part: Mapping[str, Any]) -> None:
            sent.append(part)

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        await self._serve(scope, receive, send)
        if len(sent) < 2:
            logs.get().error("ext_authz.unanswered")
            raise GrpcError(Status.INTERNAL, "the check got no answer")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, sent[1]["body"].decode("utf-8", "replace")


def scope_of(check: bytes, audience: str) -> dict[str, Any]:
    """The ASGI scope of the request that a CheckRequest is about. Raises ValueError."""
    http = grouped(_only(_only(_only(check, _ATTRIBUTES), _REQUEST), _HTTP))
    (method,), (target,) = http[_HTTP_METHOD], (text.decode().encode("latin-1") for text in http[_HTTP_PATH])
    if not audience or not target.startswith(b"/") or not _NAME.fullmatch(method.lower()):
        raise ValueError("it has no audience, path or method")
    path, _, query = target.partition(b"?")
    raw_path = _PLACE.encode() + quote(audience, safe="").encode() + path
    return {
        "type": "http",
        "method": method.decode(),
        "path": raw_path.decode("latin-1"),
        "raw_path": raw_path,
        "query_string": query,
        "headers": list(_headers(http)),
        "scheme": "http",
        WHOLE_BODY: b"",
    }


def _only(data: bytes, number: int) -> bytes:
    """The one message of this number. Raises ValueError."""
    (found,) = contents(data, number)
    return found


def _headers(http: Mapping[int, list[bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Its headers, as HTTP allows them. Raises ValueError."""
    pairs = [(b"host", host.decode().encode("latin-1")) for host in http[_HTTP_HOST][:1]]
    for entry in http[_HTTP_HEADERS]:
        pair = {number: value for number, value in fields(entry) if isinstance(value, bytes)}
        name = pair.get(1, b"").lower()
        if not name.startswith(b":") and name != b"host":
            pairs.append((name, pair.get(2, b"")))
    for name, value in pairs:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a header that HTTP does not allow")
        yield name, value


def reply_of(status: int, headers: Mapping[str, str], body: str) -> bytes:
    """The CheckResponse of an answer."""
    code = _CODES.get(status, Status.PERMISSION_DENIED)
    if status == 200:
        shown = {name: value for name, value in headers.items() if name.startswith("x-daypass-") and value}
        return message((1, message((1, code.value))), (3, message(*((2, _option(*pair)) for pair in shown.items()))))
    shown = {name: value for name, value in headers.items() if name in _SHOWN}
    denied = message((1, message((1, status))), *((2, _option(*pair)) for pair in shown.items()), (3, body))
    return message((1, message((1, code.value))), (2, denied))


def _option(name: str, value: str) -> bytes:
    return message((1, message((1, name), (2, value))), (3, _OVERWRITE))
