"""A reverse proxy on this machine's loopback address that gives each request to one server the credentials of a role: an access
token, or a SigV4 signature. For programs that have no code for either.

It serves its own user alone, and no browser: a web page must not use the role. It must never log or repeat a credential.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from daypass.client.agent.listener import uid_of_peer
from daypass.client.browser_login import access_token
from daypass.client.credentials import Credentials
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError, Profile
from daypass.client.transport import NoAnswer, endpoint_of
from daypass.sigv4 import SigningKey, sign

MAX_BODY: Final = 64 * 1024 * 1024
_SECONDS: Final = 60.0
_MARGIN: Final = 60.0  # seconds before its end, a token is replaced
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "expect"}
)  # fmt: skip
_OURS: Final = frozenset({"authorization", "dpop", "host", "content-length", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})  # fmt: skip
_OF_BROWSERS: Final = ("origin", "sec-fetch-site", "sec-fetch-mode")

Get = Callable[[bool], Credentials]
"""The role's credentials; True: new ones."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes to the server, without its credentials."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Bearer:
    """Adds an access token for an audience. Safe for threads."""

    def __init__(self, profile: Profile, get: Get, audience: str, clock: Callable[[], float] = time.time) -> None:
        self._profile, self._get, self._audience, self._clock = profile, get, audience, clock
        self._held = ("", 0.0)
        self._lock = threading.Lock()

    def headers(self, request: Outgoing, *, fresh: bool) -> Mapping[str, str]:
        """The headers to send. Raises ClientError, LocalStateError."""
        with self._lock:
            if fresh or self._held[1] - _MARGIN <= self._clock():
                made = self._get(fresh)
                as_role = replace(
                    self._profile,
                    access_key_id=made.access_key_id,
                    secret_access_key=made.secret_access_key,
                    session_token=made.session_token,
                )
                answer = access_token(Connection(as_role), {"audience": self._audience})
                self._held = str(answer["access_token"]), self._clock() + float(answer.get("expires_in", 0))
            return {**request.headers, "Authorization": f"Bearer {self._held[0]}"}


class Signature:
    """Signs for a service in a region."""

    def __init__(self, get: Get, service: str, region: str, clock: Callable[[], float] = time.time) -> None:
        self._get, self._service, self._region, self._clock = get, service, region, clock

    def headers(self, request: Outgoing, *, fresh: bool) -> Mapping[str, str]:
        """The headers to send. Raises ClientError, LocalStateError."""
        made = self._get(fresh)
        key = SigningKey(made.access_key_id, made.secret_access_key, self._region, self._service, made.session_token)
        path, _, query = request.target.partition("?")
        signed = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower().startswith(("host", "x-amz-"))
        }
        signed["x-amz-content-sha256"] = hashlib.sha256(request.body).hexdigest()
        now = int((self._clock() + made.offset) * 1000)
        rest = {name: value for name, value in request.headers.items() if name.lower() not in signed}
        return {**rest, **sign(key, request.method, path, query, signed, request.body, now)}


class Proxy(ThreadingHTTPServer):
    """Serves `listen` (host and port) for the server at `to`. `any_user`: also for other users of this machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, listen: tuple[str, int], to: str, add: Bearer | Signature, *, any_user: bool = False, ca_bundle: str = ""
    ) -> None:
        upstream = endpoint_of(to)
        if upstream.scheme == "http" and upstream.hostname not in _LOOPBACK:
            raise LocalStateError("Credentials go to https:// alone, or to this machine.")
        if listen[0] not in _LOOPBACK:
            raise LocalStateError("The proxy listens on a loopback address alone.")
        self.upstream, self.add, self.any_user = upstream, add, any_user
        self.tls = ssl.create_default_context(cafile=ca_bundle or None) if upstream.scheme == "https" else None
        super().__init__(listen, _Handler)

    def connect(self) -> http.client.HTTPConnection:
        host, port = self.upstream.hostname or "", self.upstream.port
        if self.tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=self.tls)
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy
    timeout = _SECONDS

    def handle_one_request(self) -> None:
        """Any method is served by the same function."""
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or len(self.raw_requestline) > 65_536:
            self.close_connection = True
        elif self.parse_request():
            self._serve()
            self.wfile.flush()

    def _serve(self) -> None:
        if why := self._refusal():
            self._answer(403, why)
            return
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY or "transfer-encoding" in self.headers:
            self.close_connection = True
            self._answer(413, f"A body has a Content-Length of at most {MAX_BODY} bytes.")
            return
        dropped = {*_HOP, *_OURS, *(n.strip().lower() for n in self.headers.get("connection", "").split(","))}
        sent = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        sent["Host"] = self.server.upstream.netloc
        request = Outgoing(self.command, self.path, sent, self.rfile.read(int(length)))
        try:
            self._forward(request)
        except (ClientError, LocalStateError, NoAnswer) as error:
            self._answer(502, f"No credentials: {error}")
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            self._answer(502, f"The server does not answer: {type(error).__name__}")

    def _refusal(self) -> str:
        """Why this sender or request is refused; "" if it is not."""
        host, _, port = self.headers.get("host", "").rpartition(":")
        if host.strip("[]") not in _LOOPBACK or port != str(self.server.server_port) or not self.path.startswith("/"):
            return "The Host must be that of the proxy."
        if any(name in self.headers for name in _OF_BROWSERS):
            return "The proxy does not serve browsers."
        if self.server.any_user:
            return ""
        import os

        uid = uid_of_peer(self.client_address[:2], self.connection.getsockname()[:2])
        return "" if uid == os.getuid() else "The proxy serves its own user alone."

    def _forward(self, request: Outgoing) -> None:
        """Sends the request, with new credentials once more if the server refuses the ones that were held."""
        for fresh in (False, True):
            with closing(self.server.connect()) as connection:
                headers = self.server.add.headers(request, fresh=fresh)
                connection.request(request.method, request.target, request.body or None, dict(headers))
                with connection.getresponse() as answer:
                    if answer.status != 401 or fresh:
                        self._pass_on(answer)
                        return

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        empty = self.command == "HEAD" or answer.status in (204, 304)
        if answer.getheader("content-length") is None and not empty:
            self.send_header("Connection", "close")  # the end of the connection ends the body
            self.close_connection = True
        self.end_headers()
        while not empty and (part := answer.read1(65_536)):
            self.wfile.write(part)

    def _answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged: a target may hold a secret."""


def host_and_port(text: str) -> tuple[str, int]:
    """Of `127.0.0.1:9000`. Raises LocalStateError."""
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port is not None:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise LocalStateError(f"{text!r} is not HOST:PORT.")
