"""Authentication of HTTP clients: `requests.get(url, auth=…)`, `httpx.AsyncClient(auth=…)`. Neither library is imported.

    from daypass.client.auth import BearerAuth, DPoPAuth, SigV4Auth, TokenSource

Each class is a callable that both libraries accept, and works for one origin. A redirect gets no credential from requests; with
httpx leave `follow_redirects` off, as it is by default.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from daypass import sigv4
from daypass.client import state
from daypass.client.credentials import Credentials, session_profile
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.loopback import access_token
from daypass.client.profiles import Profile
from daypass.client.transport import base64url


class CredentialSource(Protocol):
    """A source of credentials: a `CredentialProvider`, or a `HeldSession`."""

    def get(self) -> Credentials: ...


class TokenSource:
    """Access tokens of a session for an API. Safe to share between threads and tasks.

    Args:
        profile: the server.
        source: the session.
        audience: the API.
        scope: scopes, separated by spaces; "" for the API's default.
        key: binds the tokens to a key (DPoP).
    """

    def __init__(
        self,
        profile: Profile,
        source: CredentialSource,
        audience: str,
        scope: str = "",
        *,
        key: DPoPKey | None = None,
        connect: Callable[[Profile], Connection] = Connection,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._profile, self._source, self._key = profile, source, key
        self._wanted = {"audience": audience, "scope": scope} if scope else {"audience": audience}
        self._connect, self._clock = connect, clock
        self._mutex = threading.Lock()
        self._token, self._of, self._renewed_at, self._ends_at = "", "", 0.0, 0.0

    def get(self) -> str:
        """A token that is valid for a while. While it is, no caller waits for a renewal by another. Raises ClientError."""
        if not self._mutex.acquire(blocking=self._clock() >= self._ends_at - state.MARGIN):
            return self._token
        try:
            return self._current()
        finally:
            self._mutex.release()

    async def aget(self) -> str:
        """As `get`, without blocking the event loop."""
        return await asyncio.to_thread(self.get)

    def _current(self) -> str:
        held, now = self._source.get(), self._clock()
        if self._of == held.access_key_id and now < self._renewed_at:
            return self._token
        connection = self._connect(session_profile(self._profile, held))
        key = self._key
        prove = (lambda url, nonce: key.proof("POST", url, nonce=nonce)) if key else None
        try:
            answer: Mapping[str, Any] = access_token(connection, self._wanted, prove)
        except ClientError as error:
            if error.unavailable and now < self._ends_at - state.MARGIN:
                self._renewed_at = now + state.AWAY
                return self._token
            raise
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(seconds, int):
            raise ClientError("", "the server's answer holds no access token")
        self._token, self._of, self._ends_at = token, held.access_key_id, now + seconds
        self._renewed_at = now + seconds * (1 - state.LARGEST_SHARE)
        return token


class _Auth:
    """Sets headers of requests to one origin."""

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError(f"{origin!r} is not of the form https://host")
        self._origin = _origin_of(origin)

    def __call__(self, request: Any) -> Any:
        url = str(request.url)
        if _origin_of(url) == self._origin:
            request.headers.update(self.headers(str(request.method), url, request))
            if hasattr(
                request, "register_hook"
            ):  # of requests, which would send all headers but one to the next server
                request.register_hook("response", _forget)
        return request

    def headers(self, method: str, url: str, request: Any) -> dict[str, str]:
        """The headers that authenticate a request."""
        raise NotImplementedError


def _forget(response: Any, **_: Any) -> None:
    if response.is_redirect:
        for name in ("authorization", "dpop", "x-amz-date", "x-amz-security-token"):
            response.request.headers.pop(name, None)


def _origin_of(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class BearerAuth(_Auth):
    """`Authorization: Bearer` for the API at `origin`."""

    def __init__(self, origin: str, tokens: TokenSource) -> None:
        super().__init__(origin)
        self._tokens = tokens

    def headers(self, method: str, url: str, request: Any) -> dict[str, str]:  # noqa: ARG002  # a bearer token is for any
        return {"authorization": f"Bearer {self._tokens.get()}"}


class DPoPKey:
    """A key pair of this process (ES256) and its proofs (RFC 9449). It needs `cryptography`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key, self._clock = ec.generate_private_key(ec.SECP256R1()), clock
        numbers = self._key.public_key().public_numbers()
        point = {"x": base64url(numbers.x.to_bytes(32, "big")), "y": base64url(numbers.y.to_bytes(32, "big"))}
        self._jwk = {"crv": "P-256", "kty": "EC", **point}

    def proof(self, method: str, url: str, *, token: str = "", nonce: str = "") -> str:
        """A proof for one request; `token`: the access token that goes with it."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        parts = urlsplit(url)
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": f"{parts.scheme}://{parts.netloc}{parts.path or '/'}",
            "iat": int(self._clock()),
        }
        if token:
            claims["ath"] = base64url(hashlib.sha256(token.encode()).digest())
        if nonce:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self._jwk}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class DPoPAuth(_Auth):
    """`Authorization: DPoP` with a proof for each request. `tokens` are made with the same `key`."""

    def __init__(self, origin: str, tokens: TokenSource, key: DPoPKey) -> None:
        super().__init__(origin)
        self._tokens, self._key = tokens, key

    def headers(self, method: str, url: str, request: Any) -> dict[str, str]:  # noqa: ARG002  # no body is signed
        token = self._tokens.get()
        return {"authorization": f"DPoP {token}", "dpop": self._key.proof(method, url, token=token)}


class SigV4Auth(_Auth):
    """AWS Signature Version 4 with a session's key. The body must be in memory, because it is signed."""

    def __init__(
        self,
        origin: str,
        source: CredentialSource,
        service: str,
        region: str = state.REGION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(origin)
        self._source, self._service, self._region, self._clock = source, service, region, clock

    def headers(self, method: str, url: str, request: Any) -> dict[str, str]:
        held = self._source.get()
        key = sigv4.SigningKey(
            held.access_key_id, held.secret_access_key, self._region, self._service, held.session_token
        )
        parts = urlsplit(url)
        body = _body_of(request)
        given = {name.lower(): value for name, value in request.headers.items()}
        given = {name: value for name, value in given.items() if name == "content-type" or name.startswith("x-amz-")}
        given["host"] = request.headers.get("host") or parts.netloc.rpartition("@")[2]
        given["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
        now = int((self._clock() + held.offset) * 1000)
        return sigv4.sign(key, method, parts.path or "/", parts.query, given, body, now)


def _body_of(request: Any) -> bytes:
    """The body of a request of either library. Raises TypeError for one that is read as it is sent."""
    body = request.read() if hasattr(request, "stream") else request.body
    if isinstance(body, str):
        body = body.encode()
    if body is not None and not isinstance(body, bytes):
        raise TypeError("the body of a signed request must be bytes or text")
    return body or b""
