"""One HTTP exchange that ends by its deadline, whatever the other side does. Standard library only.

It must never retry, sign or judge an answer's meaning: that is `daypass.client.http`.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from daypass.client.profiles import LocalStateError

MAX_ANSWER = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out. `target` is path and query as they stand on the wire; `endpoint` as `endpoint_of` takes it."""

    endpoint: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    ca_bundle: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """No whole answer came. `sent` is False when the server cannot have seen the request, `final` when asking again is
    no use.
    """

    def __init__(self, reason: str, *, sent: bool = True, final: bool = False) -> None:
        super().__init__(reason)
        self.sent, self.final = sent, final


Transport = Callable[[Request, float], Answer]
"""Takes a request and the seconds it may last. Raises NoAnswer."""


def endpoint_of(url: str) -> SplitResult:
    """The parts of an endpoint. Raises LocalStateError unless it is http[s]://host[:port] and no more."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise LocalStateError(f"The endpoint {url!r} is not of the form http://host:port or https://host:port.")
    return parts


def exchange(request: Request, seconds: float) -> Answer:
    """The real transport. The work is done in a thread of its own, because a name lookup cannot be interrupted."""
    connection = _connection(request, seconds)
    result: list[Answer | BaseException] = []

    def work() -> None:
        try:
            result.append(_converse(connection, request))
        except BaseException as error:  # noqa: BLE001  # it goes to the caller's thread
            result.append(error)
        finally:
            connection.close()

    worker = threading.Thread(target=work, daemon=True, name="daypass-exchange")
    worker.start()
    worker.join(seconds)
    if not result:
        _wake(connection)
        raise NoAnswer("no answer in time", sent=connection.wire is not None)
    if isinstance(result[0], BaseException):
        _fail(result[0], sent=connection.wire is not None)
    return result[0]


class _Plain(http.client.HTTPConnection):
    wire: socket.socket | None = None  # set once the connection stands: from then on the server may see the request

    def connect(self) -> None:
        super().connect()
        self.wire = self.sock


class _Secure(http.client.HTTPSConnection):
    wire: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self.wire = self.sock


def _wake(connection: _Plain | _Secure) -> None:
    """Ends the worker's reading; it then closes everything."""
    if connection.wire is not None:
        with suppress(OSError):  # it has ended by itself
            connection.wire.shutdown(socket.SHUT_RDWR)


def _connection(request: Request, seconds: float) -> _Plain | _Secure:
    parts = endpoint_of(request.endpoint)
    if parts.scheme == "https":
        return _Secure(parts.hostname or "", parts.port, timeout=seconds, context=_trust(request.ca_bundle))
    return _Plain(parts.hostname or "", parts.port, timeout=seconds)


@lru_cache(maxsize=8)
def _trust(ca_bundle: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ssl.SSLError) as error:
        raise LocalStateError(f"The CA bundle {ca_bundle} cannot be used: {error.strerror or error}.") from None


def _converse(connection: http.client.HTTPConnection, request: Request) -> Answer:
    connection.request(request.method, request.target, request.body or None, dict(request.headers))
    with connection.getresponse() as response:
        body = response.read(MAX_ANSWER + 1)
        left = response.length
    if len(body) > MAX_ANSWER:
        raise NoAnswer("its answer is too large", final=True)
    if left:
        raise NoAnswer("its answer was cut short")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _fail(error: BaseException, *, sent: bool) -> NoReturn:
    if isinstance(error, ssl.SSLCertVerificationError):
        raise NoAnswer(f"its certificate is not trusted: {error.verify_message}", sent=False, final=True) from None
    if isinstance(error, (http.client.InvalidURL, ValueError)):  # they are raised before anything is sent
        raise NoAnswer(f"the request cannot be sent: {type(error).__name__}", sent=False, final=True) from None
    if isinstance(error, (OSError, http.client.HTTPException)):
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(reason, sent=sent) from None
    raise error
