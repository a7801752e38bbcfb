"""Middleware that lets only requests with a valid access token through: ASGI 3 and WSGI (PEP 3333).

The application finds the `Verified` token in the scope or environment under `KEY`. Sources: RFC 6750, 2.1 and 3; RFC 9449, 7.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from daypass.client.verifier.holder import Sent
from daypass.client.verifier.verify import BEARER, CURRENT, InvalidToken, NotCurrent, Verified, Verifier

KEY: Final = "daypass.verified"
_RETRY_SECONDS: Final = "1"
_ALGORITHMS: Final = "ES256 EdDSA Ed25519 RS256 PS256"  # of DPoP proofs

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
CertificateOf: TypeAlias = Callable[[Any], bytes]
WsgiApp: TypeAlias = Callable[[MutableMapping[str, Any], Callable[..., Any]], Iterable[bytes]]


def _no_certificate(_: Any) -> bytes:
    return b""


class Refusal(Exception):
    """The response to a request that is not let through."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def check(verifier: Verifier, authorization: str, scope: str = "", sent: Sent = BEARER) -> Verified:
    """The token in a value of `Authorization`. `scope`: one that it must have. `sent`: what the request proves besides.

    Raises Refusal.
    """
    name, _, token = authorization.partition(" ")
    dpop = name.lower() == "dpop"
    scheme = f'DPoP algs="{_ALGORITHMS}"' if dpop else "Bearer"
    if name.lower() not in ("bearer", "dpop") or not token:
        raise Refusal(401, "Unauthorized", (("www-authenticate", scheme),))
    try:
        verified = verifier.verify(token.strip(), replace(sent, dpop=dpop))
    except InvalidToken as error:
        code = "invalid_dpop_proof" if error.proof else "invalid_token"
        challenge = f'{scheme}{"," if dpop else ""} error="{code}", error_description="{error}"'
        raise Refusal(401, "Unauthorized", (("www-authenticate", challenge),)) from None
    except NotCurrent:
        raise Refusal(503, "Service Unavailable", (("retry-after", _RETRY_SECONDS),)) from None
    if scope and scope not in verified.scope:
        challenge = f'{scheme}{"," if dpop else ""} error="insufficient_scope", scope="{scope}"'
        raise Refusal(403, "Forbidden", (("www-authenticate", challenge),))
    return verified


class AsgiMiddleware:
    """Verifies on a thread, because a new key or an introspection waits for the network.

    `certificate`: returns the client's certificate (DER) from the scope, b"" for none.
    """

    def __init__(
        self, app: AsgiApp, verifier: Verifier, scope: str = "", certificate: CertificateOf = _no_certificate
    ) -> None:
        self._app, self._verifier, self._scope, self._certificate = app, verifier, scope, certificate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves an HTTP request, or refuses it. WebSockets are refused without a token too."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        authorization = sent[0].decode("latin-1") if len(sent) == 1 else ""
        try:
            verified = await asyncio.to_thread(
                check, self._verifier, authorization, self._scope, _sent(scope, self._certificate(scope))
            )
        except Refusal as refusal:
            await _refuse(scope, send, refusal)
            return
        current = CURRENT.set(verified)
        try:
            await self._app({**scope, KEY: verified}, receive, send)
        finally:
            CURRENT.reset(current)


def _sent(scope: Any, certificate: bytes) -> Sent:
    """The facts of an ASGI request. A WebSocket begins with a GET."""
    proofs = tuple(value.decode("latin-1") for name, value in scope["headers"] if name == b"dpop")
    path = scope.get("path", "").encode("utf-8", "surrogatepass")
    return Sent(proofs=proofs, method=scope.get("method", "GET"), path=path, certificate=certificate)


async def _refuse(scope: Any, send: Any, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in refusal.headers]
    start = {"type": "http.response.start", "status": refusal.status, "headers": [*headers, (b"content-length", b"0")]}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


class WsgiMiddleware:
    """The same for WSGI. `certificate` gets the environment."""

    def __init__(
        self, app: WsgiApp, verifier: Verifier, scope: str = "", certificate: CertificateOf = _no_certificate
    ) -> None:
        self._app, self._verifier, self._scope, self._certificate = app, verifier, scope, certificate

    def __call__(self, environ: MutableMapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serves a request, or refuses it."""
        try:
            sent = self._sent(environ)
            verified = check(self._verifier, environ.get("HTTP_AUTHORIZATION", ""), self._scope, sent)
        except Refusal as refusal:
            headers = [*refusal.headers, ("content-length", "0")]
            start_response(f"{refusal.status} {refusal.reason}", headers)
            return []
        environ[KEY] = verified
        current = CURRENT.set(verified)
        try:
            return self._app(environ, start_response)
        finally:
            CURRENT.reset(current)

    def _sent(self, environ: MutableMapping[str, Any]) -> Sent:
        """The facts of a request. WSGI joins repeated headers with commas; such a value is not a valid proof."""
        proof = environ.get("HTTP_DPOP", "")
        path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1", "replace")
        certificate = self._certificate(environ)
        return Sent(False, (proof,) if proof else (), environ.get("REQUEST_METHOD", ""), path, certificate)
