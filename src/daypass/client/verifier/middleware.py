"""Middleware that lets only requests with a valid access token through: ASGI 3 and WSGI (PEP 3333).

The application finds the `Verified` token in the scope or environment under `KEY`. Source: RFC 6750, 2.1 and 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from daypass.client.verifier.verify import InvalidToken, NotCurrent, Verified, Verifier

KEY: Final = "daypass.verified"
_RETRY_SECONDS: Final = "1"

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
WsgiApp: TypeAlias = Callable[[MutableMapping[str, Any], Callable[..., Any]], Iterable[bytes]]


class Refusal(Exception):
    """The response to a request that is not let through."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def check(verifier: Verifier, authorization: str, scope: str = "") -> Verified:
    """The token in a value of `Authorization`. `scope`: one that it must have. Raises Refusal."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refusal(401, "Unauthorized", (("www-authenticate", "Bearer"),))
    try:
        verified = verifier.verify(token.strip())
    except InvalidToken:
        raise Refusal(401, "Unauthorized", (("www-authenticate", 'Bearer error="invalid_token"'),)) from None
    except NotCurrent:
        raise Refusal(503, "Service Unavailable", (("retry-after", _RETRY_SECONDS),)) from None
    if scope and scope not in verified.scope:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        raise Refusal(403, "Forbidden", (("www-authenticate", challenge),))
    return verified


class AsgiMiddleware:
    """Verifies on a thread, because a new key or an introspection waits for the network."""

    def __init__(self, app: AsgiApp, verifier: Verifier, scope: str = "") -> None:
        self._app, self._verifier, self._scope = app, verifier, scope

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves an HTTP request, or refuses it. WebSockets are refused without a token too."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        authorization = sent[0].decode("latin-1") if len(sent) == 1 else ""
        try:
            verified = await asyncio.to_thread(check, self._verifier, authorization, self._scope)
        except Refusal as refusal:
            await _refuse(scope, send, refusal)
            return
        await self._app({**scope, KEY: verified}, receive, send)


async def _refuse(scope: Any, send: Any, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in refusal.headers]
    start = {"type": "http.response.start", "status": refusal.status, "headers": [*headers, (b"content-length", b"0")]}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


class WsgiMiddleware:
    """The same for WSGI."""

    def __init__(self, app: WsgiApp, verifier: Verifier, scope: str = "") -> None:
        self._app, self._verifier, self._scope = app, verifier, scope

    def __call__(self, environ: MutableMapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serves a request, or refuses it."""
        try:
            environ[KEY] = check(self._verifier, environ.get("HTTP_AUTHORIZATION", ""), self._scope)
        except Refusal as refusal:
            headers = [*refusal.headers, ("content-length", "0")]
            start_response(f"{refusal.status} {refusal.reason}", headers)
            return []
        return self._app(environ, start_response)
