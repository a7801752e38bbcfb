"""One HTTP exchange that ends by its deadline, whatever the server does. Standard library only.

It must never retry, sign or interpret a response: that is `daypass.client.http`.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

from daypass.client.profiles import LocalStateError

MAX_ANSWER = 32 * 1024 * 1024
CONNECT_SECONDS = 1.75
"""The longest that a connection may take, its name lookup and TLS handshake included: a command reports a server that is
down within two seconds of its own start.
"""


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A request. `target` is path and query as on the wire; `endpoint` as `endpoint_of` accepts it."""

    endpoint: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    ca_bundle: str = ""

    def with_headers(self, headers: Mapping[str, str]) -> ClientRequest:
        """The same request with other headers."""
        return replace(self, headers=headers)


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """A response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """No complete response arrived. `sent` is False when the server cannot have received the request; `final` is True
    when a retry is useless.
    """

    def __init__(self, reason: str, *, sent: bool = True, final: bool = False) -> None:
        super().__init__(reason)
        self.sent, self.final = sent, final


Transport = Callable[[ClientRequest, float], ClientResponse]
"""Takes a request and the seconds it may last. Raises NoAnswer."""


def endpoint_of(url: str) -> SplitResult:
    """The parts of an endpoint. Raises LocalStateError unless it is http[s]://host[:port] and no more."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        shown = f"…@{url.rpartition('@')[2]}" if "@" in url else url  # a password in it stays out of logs
        raise LocalStateError(f"The endpoint {shown!r} is not of the form http://host:port or https://host:port.")
    return parts


def exchange(request: ClientRequest, seconds: float) -> ClientResponse:
    """The real transport. In a program that uses OpenTelemetry each exchange is a span."""
    if "opentelemetry.sdk.trace" in sys.modules:
        from daypass.client.tracing import exchanged

        return exchanged(_exchange, request, seconds)
    return _exchange(request, seconds)


def _exchange(request: ClientRequest, seconds: float) -> ClientResponse:
    """The work is done in a separate thread, because a name lookup cannot be interrupted."""
    connection = _connection(request, seconds)
    ends = time.monotonic() + seconds
    result: list[ClientResponse | BaseException] = []

    def work() -> None:
        try:
            result.append(_converse(connection, request))
        except BaseException as error:  # noqa: BLE001  # it goes to the caller's thread
            result.append(error)
        finally:
            connection.close()

    worker = threading.Thread(target=work, daemon=True, name="daypass-exchange")
    worker.start()
    worker.join(min(seconds, CONNECT_SECONDS))
    if not result and connection.start.acquire(blocking=False):
        raise NoAnswer(f"no connection within {min(seconds, CONNECT_SECONDS):g} s", sent=False)
    worker.join(max(0.0, ends - time.monotonic()))
    if not result:
        _wake(connection)
        raise NoAnswer("no answer in time", sent=connection.wire is not None)
    if isinstance(result[0], BaseException):
        _fail(result[0], sent=connection.wire is not None)
    return result[0]


@contextmanager
def open_response(request: ClientRequest, seconds: float) -> Iterator[http.client.HTTPResponse]:
    """A response that is read as it arrives. `seconds`: the longest that one read may take. Raises NoAnswer."""
    connection = _connection(request, seconds)
    try:
        connection.request(request.method, request.target, request.body or None, dict(request.headers))
        with connection.getresponse() as response:
            yield response
    except (OSError, http.client.HTTPException, ValueError) as error:
        _fail(error, sent=connection.wire is not None)
    finally:
        connection.close()


class _Timed(http.client.HTTPConnection):
    """A connection that sends nothing once its caller has given it up: the caller may send the request again.

    Attributes:
        start: taken once, by the connection before it sends, or by the caller who gives it up.
        wire: the socket once the connection is established. From then on the server may see the request.
    """

    wire: socket.socket | None = None

    def __init__(self, host: str, port: int | None, **options: Any) -> None:
        super().__init__(host, port, **options)
        self.start = threading.Lock()

    def connect(self) -> None:
        super().connect()
        if not self.start.acquire(blocking=False):
            raise ConnectionAbortedError("given up")
        self.wire = self.sock


class _Secure(_Timed, http.client.HTTPSConnection):
    pass


def _wake(connection: _Timed) -> None:
    """Ends the worker's reading; it then closes everything."""
    if connection.wire is not None:
        with suppress(OSError):  # it has ended by itself
            connection.wire.shutdown(socket.SHUT_RDWR)


def _connection(request: ClientRequest, seconds: float) -> _Timed:
    parts = endpoint_of(request.endpoint)
    if parts.scheme == "https":
        return _Secure(parts.hostname or "", parts.port, timeout=seconds, context=_trust(request.ca_bundle))
    return _Timed(parts.hostname or "", parts.port, timeout=seconds)


@lru_cache(maxsize=8)
def _trust(ca_bundle: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ssl.SSLError) as error:
        raise LocalStateError(f"The CA bundle {ca_bundle} cannot be used: {error.strerror or error}.") from None


def _converse(connection: http.client.HTTPConnection, request: ClientRequest) -> ClientResponse:
    connection.request(request.method, request.target, request.body or None, dict(request.headers))
    with connection.getresponse() as response:
        body = response.read(MAX_ANSWER + 1)
        left = response.length
    if len(body) > MAX_ANSWER:
        raise NoAnswer("its answer is too large", final=True)
    if left:
        raise NoAnswer("its answer was cut short")
    return ClientResponse(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})
"""OpenSSL's names for an answer that is not TLS."""


def _fail(error: BaseException, *, sent: bool) -> NoReturn:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted: {error.verify_message}"
        hint = "AWS_CA_BUNDLE or `daypass login --ca-bundle` names a file with the CA"
        raise NoAnswer(f"{reason} ({hint})", sent=False, final=True) from None
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        raise NoAnswer("it does not speak TLS at this port", sent=False, final=True) from None
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        raise NoAnswer("its name is not known", sent=False, final=True) from None
    if isinstance(error, (http.client.InvalidURL, ValueError)):  # they are raised before anything is sent
        raise NoAnswer(f"the request cannot be sent: {type(error).__name__}", sent=False, final=True) from None
    if isinstance(error, (OSError, http.client.HTTPException)):
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(reason, sent=sent) from None
    raise error


@dataclass(frozen=True, slots=True)
class LoginServer:
    """The server to log in to, and its connection settings."""

    endpoint: str
    ca_bundle: str = ""
    transport: Transport = exchange


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
