"""A reverse proxy on this machine's loopback address that gives each request to one server the credentials of a role: an access
token, or a SigV4 signature. For programs that have no code for either.

It serves its own user alone, and no browser: a web page must not use the role. It must never log or repeat a credential.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from contextlib import closing
from http.server import ThreadingHTTPServer
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from daypass.client.agent.listener import uid_of_peer
from daypass.client.auth import BearerAuth, SigV4Auth
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError
from daypass.client.serving import Handler
from daypass.client.transport import NoAnswer, endpoint_of

MAX_BODY: Final = 64 * 1024 * 1024
_SECONDS: Final = 60.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "expect"}
)  # fmt: skip
_OURS: Final = frozenset({"authorization", "dpop", "host", "content-length", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})  # fmt: skip
_OF_BROWSERS: Final = ("origin", "sec-fetch-site", "sec-fetch-mode")


class Outgoing(NamedTuple):
    """A request as it goes to the server, as `client.auth` authenticates it: names of headers are in lower case."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Proxy(ThreadingHTTPServer):
    """Serves `listen` (host and port) for the server at `to`, whose requests `auth` authenticates.

    `renew`: replaces the credentials of `auth` by new ones. `any_user`: also for other users of this machine.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        listen: tuple[str, int],
        to: str,
        auth: BearerAuth | SigV4Auth,
        renew: Callable[[], object],
        *,
        any_user: bool = False,
        ca_bundle: str = "",
    ) -> None:
        upstream = endpoint_of(to)
        if upstream.scheme == "http" and upstream.hostname not in _LOOPBACK:
            raise LocalStateError("Credentials are sent only over https://, or to this machine.")
        if listen[0] not in _LOOPBACK:
            raise LocalStateError("The proxy listens only on a loopback address.")
        self.upstream, self.auth, self.renew, self.any_user = upstream, auth, renew, any_user
        self.tls = ssl.create_default_context(cafile=ca_bundle or None) if upstream.scheme == "https" else None
        super().__init__(listen, _Handler)

    def connect(self) -> http.client.HTTPConnection:
        host, port = self.upstream.hostname or "", self.upstream.port
        if self.tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=self.tls)
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)


class _Handler(Handler):
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
        known = length.isascii() and length.isdigit() and len(length) <= 10 and int(length) <= MAX_BODY
        if not known or "transfer-encoding" in self.headers:
            self.close_connection = True
            self._answer(413, f"A body has a Content-Length of at most {MAX_BODY} bytes.")
            return
        dropped = {*_HOP, *_OURS, *(n.strip().lower() for n in self.headers.get("connection", "").split(","))}
        upstream = self.server.upstream
        sent = {"host": upstream.netloc}
        for name in {name.lower() for name in self.headers} - dropped:
            between = "; " if name == "cookie" else ", "
            sent[name] = between.join(self.headers.get_all(name, ()))
        url = f"{upstream.scheme}://{upstream.netloc}{self.path}"
        request = Outgoing(self.command, url, sent, self.rfile.read(int(length)))
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
        for again in (False, True):
            if again:
                self.server.renew()
            with closing(self.server.connect()) as connection:
                headers = request.headers | self.server.auth.headers(request.method, request.url, request)
                connection.request(request.method, self.path, request.body or None, headers)
                with connection.getresponse() as answer:
                    if answer.status != 401 or again:
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
        self.answer(status, f"{text}\n".encode())


def host_and_port(text: str) -> tuple[str, int]:
    """Parses an address such as `127.0.0.1:9000`. Raises LocalStateError."""
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port is not None:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise LocalStateError(f"{text!r} is not HOST:PORT.")
