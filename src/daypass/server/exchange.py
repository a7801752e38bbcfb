"""One request and its answer, as ASGI has them: the body in, the answer out in the framing of HTTP/1.1.

It must never let anything of the application's break the framing, and never keep more of a body than is waited for.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from daypass.observability import logs
from daypass.wire.app import WHOLE_ANSWER, WHOLE_BODY

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

STATUS: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode("ascii") for s in http.HTTPStatus}
_HIGH_WATER: Final = 65_536  # bytes of a body that wait for the application before reading pauses
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"
_LAST: Final = _CLOSE + b"\r\n"  # ends the head of the last answer over a connection
_BODILESS: Final = (204, 304)
_UNKNOWN: Final = -1
_NOTHING, _HEAD, _PART, _ALL = range(4)  # how much of its answer an exchange has had


class Connection(Protocol):
    """What an exchange needs of the connection that it is on."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    writable: asyncio.Event | None

    def lines(self) -> bytes: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def answered(self, exchange: Exchange) -> None: ...


class Exchange:
    """One request and its answer: the two callables of ASGI."""

    __slots__ = ("_arrived", "_body", "_chunked", "_complete", "_due", "_gone", "_head", "_protocol", "_stage", "_taken",
                 "keep_alive", "scope")  # fmt: skip

    def __init__(self, protocol: Connection, scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self._protocol = protocol
        self._body = b""
        self._complete = False  # the whole request is here
        self._taken = False  # and the application has it
        self._gone = False  # the client is not there any more
        self._arrived: asyncio.Future[None] | None = None  # the application waits for something to happen
        self._stage = _NOTHING
        self._head: dict[str, Any] = {}
        self._due = _UNKNOWN  # bytes of the answer's body that must still come
        self._chunked = False

    async def run(self, app: Any) -> None:
        """Calls the application, and ends what it leaves unfinished."""
        scope = self.scope
        scope[WHOLE_ANSWER] = self.answer
        if self._complete:
            scope[WHOLE_BODY], self._body = self._body, b""
            self._taken = True
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._break_off()
            raise
        except Exception:  # noqa: BLE001  # the last boundary
            logs.get().error("http.application_failed", exc_info=True)
        finally:
            del scope[WHOLE_ANSWER]  # or each request would be garbage that only the collector finds
        if self._stage != _ALL:
            self._break_off()

    def _break_off(self) -> None:
        """Ends an answer that the application has not ended, so that nobody waits for it."""
        if self._stage == _ALL or self._gone:
            return
        self.keep_alive = False
        if self._stage < _PART:
            why = b"Internal Server Error"
            length = (b"content-length", b"%d" % len(why))
            self._protocol.transport.write(self._begin(500, (length,), why, more=False))
        self._end()

    def _end(self) -> None:
        self._stage = _ALL
        if self._arrived is not None:
            self._wake()
        self._protocol.answered(self)

    # --- The request

    def feed(self, body: bytes) -> None:
        """More of the body."""
        if self._stage == _ALL:
            return  # nobody will read it
        self._body = self._body + body if self._body else body
        if len(self._body) > _HIGH_WATER:
            self._protocol.pause_reading()
        if self._arrived is not None:
            self._wake()

    def fed(self) -> None:
        """That was all of it."""
        self._complete = True
        if self._arrived is not None:
            self._wake()

    def disconnect(self) -> None:
        """The client is gone."""
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def receive(self) -> dict[str, Any]:
        """ASGI."""
        if not (self._gone or self._stage == _ALL) and (self._taken or not (self._body or self._complete)):
            if not self._taken and self._stage == _NOTHING and _expects_continue(self.scope["headers"]):
                self._protocol.transport.write(_CONTINUE)
            await self._something()
        if self._gone or self._stage == _ALL:
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        self._taken = self._complete
        return {"type": "http.request", "body": body, "more_body": not self._complete}

    async def _something(self) -> None:
        self._protocol.resume_reading()
        self._arrived = self._protocol.loop.create_future()
        try:
            await self._arrived
        finally:
            self._arrived = None

    # --- The answer

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI. The head waits for the first part of the body, so that both are one write."""
        protocol = self._protocol
        while protocol.writable is not None and not self._gone:
            await protocol.writable.wait()
        if self._gone:
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
                self.keep_alive = self.keep_alive and self._due <= 0  # too short: only the connection's end shows that
                self._end()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind}")

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """The whole answer at once (see WHOLE_ANSWER); False when it needs more thought, or the client cannot take it now."""
        protocol = self._protocol
        if self._stage != _NOTHING or self._gone or protocol.writable is not None:
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
        """Decides how the end of the body will show (RFC 9112, section 6.3); the header line that says so, if any."""
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
        """A part of the body as it goes over the wire."""
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
    """Whether the client sends its body only when it is told to (RFC 9110, section 10.1.1)."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
