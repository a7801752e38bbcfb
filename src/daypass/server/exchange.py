"""One request and its response in ASGI: the body in, the response out in the framing of HTTP/1.1.

The application must never be able to break the framing. It must never hold more of a body than the application waits
for, or than the budget of bodies has room for.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.observability import logs
from daypass.server.bodies import FREE_BYTES, BodyBudget
from daypass.wire.http import LATE, OVERDUE, WHOLE_ANSWER, WHOLE_BODY

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

STATUS: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode("ascii") for s in http.HTTPStatus}
_HIGH_WATER: Final = 65_536  # bytes of a body that wait for the application before reading pauses
_PHRASES: Final = {500: b"Internal Server Error", 503: b"Service Unavailable"}
_NO_ROOM: Final = "The server has no room for the request body. Try again later."
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"
_LAST: Final = _CLOSE + b"\r\n"  # ends the head of the last response on a connection
_BODILESS: Final = (204, 304)
_UNKNOWN: Final = -1
_NOTHING, _HEAD, _PART, _ALL = range(4)  # how much of the response has been sent


class HttpConnection(Protocol):
    """A connection as an exchange needs it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    writable: asyncio.Event | None
    bodies: BodyBudget
    limited_address: str

    def lines(self) -> bytes: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def answered(self, exchange: Exchange) -> None: ...


class Exchange:
    """One request and its response: the two callables of ASGI."""

    __slots__ = (
        "_arrived",
        "_body",
        "_charged",
        "_chunked",
        "_disconnected",
        "_due",
        "_ending",
        "_head",
        "_no_room",
        "_protocol",
        "_size",
        "_stage",
        "_taken",
        "complete",
        "keep_alive",
        "scope",
        "since",
    )  # fmt: skip

    def __init__(self, protocol: HttpConnection, scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self._protocol = protocol
        self._body: bytes | bytearray = b""  # a bytearray for several parts: adding one must not copy the others
        self._size = 0  # bytes of the body received
        self._charged = 0  # bytes charged to the budget
        self._no_room = False  # the budget is used up: the rest of the body is dropped
        self.since = 0.0  # when the application received the whole request (time of the loop)
        self.complete = False  # the whole request has been received
        self._taken = False  # and the application has it
        self._disconnected = False  # the client has disconnected
        self._ending = False  # the server is stopping
        self._arrived: asyncio.Future[None] | None = None  # the application waits for an event
        self._stage = _NOTHING
        self._head: dict[str, Any] = {}
        self._due = _UNKNOWN  # bytes of the response body still to be sent
        self._chunked = False

    async def run(self, app: Any, *, late: bool = False) -> None:
        """Calls the application and completes an unfinished response. `late`: the application must refuse the request
        (see LATE).
        """
        scope = self.scope
        scope[WHOLE_ANSWER] = self.answer
        if late:
            scope[LATE] = True
        if self.complete:
            self.since = self._protocol.loop.time()
            if not self._no_room:
                scope[WHOLE_BODY] = self._take()
                self._taken = True
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._abort(503)
            raise
        except Exception:  # noqa: BLE001  # the last boundary
            logs.get().error("http.application_failed", exc_info=True)
        finally:
            del scope[WHOLE_ANSWER]  # otherwise each request would be a cycle that only the collector frees
            scope.pop(WHOLE_BODY, None)
            self.release()
        if self._stage != _ALL:
            self._abort()

    def release(self) -> None:
        """Drops the body and returns its bytes to the budget."""
        self._body = b""
        if self._charged:
            charged, self._charged = self._charged, 0
            self._protocol.bodies.release(self._protocol.limited_address, charged)

    def overdue(self) -> bool:
        """Marks the request as overdue, if its response has not begun (see OVERDUE)."""
        if self._stage != _NOTHING or OVERDUE in self.scope:
            return False
        self.scope[OVERDUE] = True
        return True

    def _abort(self, status: int = 500) -> None:
        """Ends a response that the application has not completed, so that no client waits for it."""
        if self._stage == _ALL or self._disconnected:
            return
        self.keep_alive = False
        if self._stage < _PART:
            why = _PHRASES[status]
            length = (b"content-length", b"%d" % len(why))
            self._protocol.transport.write(self._begin(status, (length,), why, more=False))
        self._end()

    def _end(self) -> None:
        self._stage = _ALL
        if self._arrived is not None:
            self._wake()
        self._protocol.answered(self)

    # --- The request

    def feed(self, body: bytes) -> None:
        """Receives more of the body."""
        if self._stage == _ALL or self._no_room:
            self._protocol.bodies.dropped(len(body))
            return  # it will not be read
        self._size += len(body)
        if self._size > FREE_BYTES and not self._charge(self._size - FREE_BYTES - self._charged):
            return
        if isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body + body) if self._body else body
        if len(self._body) > _HIGH_WATER:
            self._protocol.pause_reading()
        if self._arrived is not None:
            self._wake()

    def _take(self) -> bytes:
        """The part of the body that has arrived since the last call."""
        body, self._body = self._body, b""
        return body if isinstance(body, bytes) else bytes(body)

    def _charge(self, size: int) -> bool:
        """Charges the budget for more of the body. Returns False if there is no room."""
        if self._protocol.bodies.charge(self._protocol.limited_address, size):
            self._charged += size
            return True
        self._no_room, self._body = True, b""
        self._protocol.pause_reading()
        self._wake()
        return False

    def fed(self) -> None:
        """Called at the end of the request."""
        self.complete = True
        self.since = self._protocol.loop.time()
        if self._arrived is not None:
            self._wake()

    def disconnect(self) -> None:
        """Called when the client has disconnected."""
        self._disconnected = True
        self._wake()

    def end_stream(self) -> None:
        """Called when the server stops: an application that waits for the client to disconnect completes its response."""
        self._ending = True
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def receive(self) -> dict[str, Any]:
        """ASGI. Raises DaypassError(OVERLOADED) when there is no room for the body."""
        if (
            not self._no_room
            and not (self._disconnected or self._stage == _ALL or (self._ending and self._taken))
            and (self._taken or not (self._body or self.complete))
        ):
            if not self._taken and self._stage == _NOTHING and _expects_continue(self.scope["headers"]):
                self._protocol.transport.write(_CONTINUE)
            await self._wait_for_data()
        if self._disconnected or self._stage == _ALL or (self._ending and self._taken):
            return {"type": "http.disconnect"}
        if self._no_room:
            raise DaypassError(
                ErrorKind.OVERLOADED, _NO_ROOM, private={"reason": "bodies in flight", "bytes": self._size}
            )
        body, self._taken = self._take(), self.complete
        return {"type": "http.request", "body": body, "more_body": not self.complete}

    async def _wait_for_data(self) -> None:
        self._protocol.resume_reading()
        self._arrived = self._protocol.loop.create_future()
        try:
            await self._arrived
        finally:
            self._arrived = None

    # --- The answer

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI. The head is held until the first part of the body, so that both are one write."""
        protocol = self._protocol
        while protocol.writable is not None and not self._disconnected:
            await protocol.writable.wait()
        if self._disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._stage == _NOTHING:
            self._head = message
            self._stage = _HEAD
        elif kind == "http.response.body" and self._stage in (_HEAD, _PART):
            body, more = message.get("body", b""), message.get("more_body", False)
            if self._stage == _HEAD:
                data = self._begin(self._head["status"], self._head.get("headers", ()), body, more=more)
            else:
                data = self._part(body, more=more)
            if data:
                protocol.transport.write(data)
            self._stage = _PART
            if not more:
                self.keep_alive = self.keep_alive and self._due <= 0  # too short: only closing shows that
                self._end()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind}")

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Sends the whole response at once (see WHOLE_ANSWER). Returns False if it needs the general path, or the
        client cannot receive it now.
        """
        protocol = self._protocol
        if self._stage != _NOTHING or self._disconnected or protocol.writable is not None:
            return False
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            return False
        end = b"\r\n" if self.keep_alive else _LAST
        protocol.transport.write(b"".join((STATUS[status], protocol.lines(), lines, end, body)))
        self._end()
        return True

    def _begin(self, status: int, headers: Headers, body: bytes, *, more: bool) -> bytes:
        """Head and first part of the body. Raises RuntimeError when the head would break the framing."""
        fields: list[bytes] = []
        length, closing = _UNKNOWN, False
        for name, value in headers:
            fields += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                closing = b"close" in value.lower()
            elif name == b"transfer-encoding":
                raise RuntimeError("the framing of an answer is not the application's")
        text = b"".join(fields)
        if text.count(b"\r") != len(headers) or text.count(b"\n") != len(headers) or b"\0" in text:
            raise RuntimeError("a header of the answer holds a control character")
        if closing:
            self.keep_alive = False
        more_lines = self._frame(length, bodiless=self.scope["method"] == "HEAD" or status in _BODILESS)
        if not self.keep_alive and not closing:
            more_lines += _CLOSE
        lines = self._protocol.lines()
        return b"".join((STATUS[status], lines, text, more_lines, b"\r\n", self._part(body, more=more)))

    def _frame(self, length: int, *, bodiless: bool) -> bytes:
        """Decides how the body is delimited (RFC 9112, section 6.3) and returns the header line for it, if any."""
        self._chunked = False
        self._due = 0 if bodiless else length
        if bodiless or length != _UNKNOWN:
            return b""
        if self.scope["http_version"] == "1.1":
            self._chunked = True
            return b"transfer-encoding: chunked\r\n"
        self.keep_alive = False
        return b""

    def _part(self, body: bytes, *, more: bool) -> bytes:
        """A part of the body in its framing on the wire."""
        if self._chunked:
            part = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return part if more else part + b"0\r\n\r\n"
        if self._due == _UNKNOWN:
            return body
        if self.scope["method"] == "HEAD":
            return b""
        self._due -= len(body)
        if self._due < 0:
            raise RuntimeError("the body of an answer is longer than its Content-Length")
        return body


def _expects_continue(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the client waits for 100 (Continue) before it sends the body (RFC 9110, section 10.1.1)."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
