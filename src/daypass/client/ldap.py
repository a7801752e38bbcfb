"""`daypass ldap` and `daypass pam`: a database that can ask LDAP or PAM for the password of a user asks for that of a role.

The password is a presigned request, as `aws rds generate-db-auth-token` makes it. The simple bind is all of LDAP that is
served. It must never log or keep a password.
Sources: RFC 4511, 4.2; ITU-T X.690; Amazon RDS User Guide, "Connecting to your DB instance using IAM authentication".
"""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from daypass.client.profiles import LocalStateError
from daypass.client.transport import ClientRequest, NoAnswer, Transport, endpoint_of, exchange

MAX_MESSAGE: Final = 32_768
_SECONDS: Final = 5.0
_MESSAGE_SECONDS: Final = 10.0  # in which a whole message must arrive
_CONNECTIONS: Final = 256
_BIND, _UNBIND, _ANSWER, _SEQUENCE, _INTEGER, _TEXT, _SIMPLE = 0x60, 0x42, 0x61, 0x30, 0x02, 0x04, 0x80


class ResultCode(IntEnum):
    """LDAP's result codes."""

    SUCCESS = 0
    PROTOCOL_ERROR = 2
    INVALID_CREDENTIALS = 49
    UNAVAILABLE = 52


class Tokens:
    """Checks tokens for one database. `audience`: its resource server, https://HOST:PORT as in the tokens."""

    def __init__(self, endpoint: str, audience: str, ca_bundle: str = "", transport: Transport = exchange) -> None:
        self._endpoint, self._ca_bundle, self._transport = endpoint_of(endpoint).geturl(), ca_bundle, transport
        self._audience, self._host = audience, urlsplit(audience).netloc
        if not self._host:
            raise LocalStateError("The audience is https://HOST:PORT of the database.")

    def check(self, user: str, unverified_token: str) -> ResultCode:
        """Asks Daypass whether the signer may connect as this user now."""
        host, _, query = unverified_token.removeprefix("https://").partition("/?")
        asked = parse_qs(query, keep_blank_values=True)
        printable = unverified_token.isascii() and unverified_token.isprintable() and " " not in unverified_token
        if not printable or host != self._host or asked.get("DBUser") != [user] or asked.get("Action") != ["connect"]:
            return ResultCode.INVALID_CREDENTIALS
        target = f"/gateway/auth?audience={quote(self._audience, safe='')}"
        headers = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": f"/?{query}"}
        request = ClientRequest(self._endpoint, "GET", target, headers, b"", self._ca_bundle)
        try:
            status = self._transport(request, _SECONDS).status
        except NoAnswer:
            return ResultCode.UNAVAILABLE
        if status == 200:
            return ResultCode.SUCCESS
        return ResultCode.INVALID_CREDENTIALS if status in (400, 401, 403) else ResultCode.UNAVAILABLE


class LdapServer(socketserver.ThreadingTCPServer):
    """Answers binds at `listen`. `check`: takes user and password."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, listen: tuple[str, int], check: Callable[[str, str], ResultCode]) -> None:
        self.check = check
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(listen, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection on a thread, or closes it when there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: object) -> None:
        """Nothing: a message may hold a password."""


class _Handler(socketserver.BaseRequestHandler):
    server: LdapServer
    _held = b""  # received, and not read yet

    def handle(self) -> None:
        while message := self._message():
            self.request.sendall(self._answered(message))

    def _message(self) -> bytes:
        """The content of the next message; b"" at the end, and for what is not LDAP."""
        until = time.monotonic() + _MESSAGE_SECONDS
        head = self._read(2, until)
        if head[:1] != bytes([_SEQUENCE]):
            return b""
        more = self._read(head[1] & 0x7F, until) if head[1] & 0x80 else b""
        length = int.from_bytes(more, "big") if more else head[1]
        return self._read(length, until) if len(more) <= 4 and length <= MAX_MESSAGE else b""

    def _read(self, size: int, until: float) -> bytes:
        """So many bytes; b"" if they do not come. Raises TimeoutError."""
        while len(self._held) < size:
            self.request.settimeout(max(until - time.monotonic(), 0.001))
            part = self.request.recv(4096)
            if not part:
                return b""
            self._held += part
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _answered(self, message: bytes) -> bytes:
        number, rest = _value(message, _INTEGER)
        if rest[:1] == bytes([_UNBIND]):
            raise ConnectionAbortedError
        bind, _ = _value(rest, _BIND)
        version, rest = _value(bind, _INTEGER)
        name, rest = _value(rest, _TEXT)
        password, rest = _value(rest, _SIMPLE)
        if version != b"\3" or rest or not name or not password:  # an empty password would be an anonymous bind
            outcome = ResultCode.PROTOCOL_ERROR if version != b"\3" or rest else ResultCode.INVALID_CREDENTIALS
        else:
            outcome = self.server.check(name.decode("utf-8", "replace"), password.decode("utf-8", "replace"))
        result = bytes([0x0A, 1, outcome, _TEXT, 0, _TEXT, 0])
        return _element(_SEQUENCE, _element(_INTEGER, number) + _element(_ANSWER, result))


class _Element(NamedTuple):
    content: bytes
    rest: bytes


def _value(data: bytes, tag: int) -> _Element:
    """The content of the first element, and what follows it. Raises ValueError."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("another element is expected")
    size = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + size], "big") if size else data[1]
    content = data[2 + size : 2 + size + length]
    if size > 4 or data[1] == 0x80 or len(content) != length:
        raise ValueError("its length is wrong")
    return _Element(content, data[2 + size + length :])


def _element(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content  # all of ours are short
