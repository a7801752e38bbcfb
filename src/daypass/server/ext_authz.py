"""Envoy's external authorization over gRPC, at a separate port: each check becomes a request to `/gateway/ext_authz/`.

So limits, decisions, the record and metrics are those of HTTP. The port has no TLS and no authentication: only proxies may
reach it. A check that cannot be answered is refused.
Source: Envoy, envoy.service.auth.v3.Authorization.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from daypass.grpc_server import GrpcCall, GrpcError, GrpcServer, Status
from daypass.observability import logs
from daypass.protobuf import fields, grouped, message
from daypass.server.runtime import Receive, Send
from daypass.wire.http import WHOLE_BODY, Header

_METHOD: Final = "/envoy.service.auth.v3.Authorization/Check"
_AUDIENCE: Final = b"daypass-audience"
_CONNECTIONS: Final = 1024
_SECONDS: Final = 5.0
_ATTRIBUTES, _REQUEST, _HTTP = 1, 4, 2
_HTTP_METHOD, _HTTP_HEADERS, _HTTP_PATH, _HTTP_HOST = 2, 3, 4, 5
_OVERWRITE: Final = 2
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_FORBIDDEN: Final = re.compile(rb"[\0\r\n]")
_CODES: Final[Mapping[int, Status]] = {401: Status.UNAUTHENTICATED, 503: Status.UNAVAILABLE}
_SHOWN: Final = frozenset({b"www-authenticate", b"dpop-nonce", b"retry-after", b"content-type"})

Asgi = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class ExtAuthzPort:
    """Serves checks at a listening socket, in the running event loop, until it is closed."""

    def __init__(self, serve: Asgi) -> None:
        self._serve = serve
        self._server = GrpcServer({_METHOD: self._check}, connections=_CONNECTIONS, seconds=_SECONDS)

    async def start(self, sock: socket.socket) -> None:
        await self._server.start(sock.dup())

    async def close(self) -> None:
        """Closes the port and its connections, after the checks that have begun."""
        await self._server.close()

    async def _check(self, call: GrpcCall) -> bytes:
        try:
            scope = scope_of(call.message, call.only(_AUDIENCE))
        except ValueError:
            raise GrpcError(Status.INVALID_ARGUMENT, "the check cannot be read") from None
        scope["client"] = call.transport.get_extra_info("peername")
        return await self._answered(scope)

    async def _answered(self, scope: dict[str, Any]) -> bytes:
        sent: list[Mapping[str, Any]] = []

        async def send(part: Mapping[str, Any]) -> None:
            sent.append(part)

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        await self._serve(scope, receive, send)
        if len(sent) < 2:
            logs.get().error("ext_authz.unanswered")
            raise GrpcError(Status.INTERNAL, "the check got no answer")
        return reply_of(sent[0]["status"], sent[0]["headers"], sent[1]["body"])


# --- The request that a check is about


def scope_of(check: bytes, audience: str) -> dict[str, Any]:
    """The ASGI scope of the request that a CheckRequest is about. Raises ValueError."""
    http = grouped(_only(_only(_only(check, _ATTRIBUTES), _REQUEST), _HTTP))
    (method,), (target,) = http[_HTTP_METHOD], http[_HTTP_PATH]
    target = _latin(target)
    if not audience or not target.startswith(b"/") or not _NAME.fullmatch(method.lower()):
        raise ValueError("it has no audience, path or method")
    path, _, query = target.partition(b"?")
    raw_path = _place(audience) + path
    headers = [(b"host", _checked(_latin(host))) for host in http[_HTTP_HOST][:1]]
    headers += [pair for pair in map(_header, http[_HTTP_HEADERS]) if pair[0]]
    return {
        "type": "http",
        "method": method.decode(),
        "path": raw_path.decode("latin-1"),
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "scheme": "http",
        WHOLE_BODY: b"",
    }


def _only(data: bytes, number: int) -> bytes:
    """The one message of this number. Raises ValueError."""
    (found,) = [value for each, value in fields(data) if each == number and isinstance(value, bytes)]
    return found


def _latin(text: bytes) -> bytes:
    return text if text.isascii() else text.decode().encode("latin-1")


@lru_cache(maxsize=64)  # a proxy says the same
def _place(audience: str) -> bytes:
    return f"/gateway/ext_authz/{quote(audience, safe='')}".encode("ascii")


def _header(entry: bytes) -> tuple[bytes, bytes]:
    """A header, as HTTP allows it; without a name if HTTP has no such field. Raises ValueError."""
    name = value = b""
    for number, found in fields(entry):
        if isinstance(found, bytes):
            name, value = (found, value) if number == 1 else (name, found) if number == 2 else (name, value)
    return _field_name(name), _checked(value)


@lru_cache(maxsize=256)  # clients send the same
def _field_name(name: bytes) -> bytes:
    name = name.lower()
    if name.startswith(b":") or name == b"host":
        return b""
    if not _NAME.fullmatch(name):
        raise ValueError("a name that HTTP does not allow")
    return name


def _checked(value: bytes) -> bytes:
    if _FORBIDDEN.search(value):
        raise ValueError("a value that HTTP does not allow")
    return value


# --- The answer


def reply_of(status: int, headers: Iterable[Header], body: bytes) -> bytes:
    """The CheckResponse of an answer."""
    if status == 200:
        return _allowed(tuple(pair for pair in headers if pair[0].startswith(b"x-daypass-") and pair[1]))
    code = _CODES.get(status, Status.PERMISSION_DENIED)
    shown = ((2, _option(*pair)) for pair in headers if pair[0] in _SHOWN)
    denied = message((1, message((1, status))), *shown, (3, body))
    return message((1, message((1, code.value))), (2, denied))


@lru_cache(maxsize=1024)  # as the identities of the gateway
def _allowed(headers: tuple[Header, ...]) -> bytes:
    return message((1, message((1, 0))), (3, message(*((2, _option(*pair)) for pair in headers))))


def _option(name: bytes, value: bytes) -> bytes:
    return message((1, message((1, name), (2, value))), (3, _OVERWRITE))
