"""HTTP/1.1 between a socket and the application, with as little as possible on each request's way.

The parser is httptools, the contract is ASGI 3 and uvicorn's for its protocols. It differs from uvicorn's own protocol
in what it saves (a timer, an event, a copy or a second write for every request) and in what it adds: a connection that
has not finished the head of a request in time, or makes it too long, is closed (attack A108). It must never read a body
that nobody takes into memory without end, and never let anything of the application's break the framing of an answer.
"""

from __future__ import annotations

import asyncio
import http
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from daypass.observability import logs
from daypass.wire.app import WHOLE_ANSWER, WHOLE_BODY

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_HIGH_WATER: Final = 65_536  # bytes of a body that wait for the application before reading pauses
_LONGEST_HEAD: Final = 65_536  # bytes; the application refuses far shorter ones, in its protocol's words
_SWEEPS: Final = 13  # looks at idle connections within the time that they may be idle
_STATUS: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode("ascii") for s in http.HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = (204, 304)
_UNKNOWN: Final = -1
_NOTHING, _HEAD, _PART, _ALL = range(4)  # how much of its answer an exchange has had
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Common:
    """What the connections of one server share: the lines that all answers have, and one timer for all that are idle."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._state: ServerState | None = None
        self._made_from: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def attach(self, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        """Called by each connection; the first one of a server sets the timer."""
        if state is not self._state:
            self._state = state
            self._sweep(state, loop)

    def lines(self, state: ServerState) -> bytes:
        """The header lines that every answer has."""
        headers = state.default_headers  # another list each time that they change
        if headers is not self._made_from:
            self._lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            self._made_from = headers
        return self._lines

    def _sweep(self, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        before = loop.time() - self._idle_seconds
        for connection in list(state.connections):
            if isinstance(connection, HttpProtocol) and connection.idle_before(before):
                connection.transport.close()
        loop.call_later(self._idle_seconds / _SWEEPS, self._sweep, state, loop)


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002  # uvicorn gives it; the application keeps its own state
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        common: Common,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.app: Any = config.loaded_app
        self.state = server_state
        self.common = common
        common.attach(server_state, self.loop)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.writable: asyncio.Event | None = None  # there while the transport takes no more
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()  # pipelined behind the current one
        self._current: Exchange | None = None  # the one whose answer is due
        self._reading: Exchange | None = None  # the one whose body is being read
        self._idle_since = 0.0  # 0 while a request is being answered
        self._paused = False
        self._head = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._server: tuple[str, int | None] | None = None
        self._client: tuple[str, int] | None = None
        self._scheme = "http"

    # --- The connection

    # uvloop's transports are of no class of asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._server, self._client = get_local_addr(transport), get_remote_addr(transport)
        self._scheme = "https" if is_ssl(transport) else "http"
        self._idle_since = self.loop.time()
        self.state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own protocols only

    def connection_lost(self, _: Exception | None) -> None:
        self.state.connections.discard(self)
        for exchange in (self._current, *self._waiting):
            if exchange is not None:
                exchange.disconnect()
        self._waiting.clear()
        self.resume_writing()

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None:
        if self.writable is None:
            self.writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self.writable is not None:
            self.writable.set()
            self.writable = None

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def shutdown(self) -> None:
        """Asked for by uvicorn when the server stops: ends the connection, after the answer that is due."""
        if self._current is None:
            self.transport.close()
        else:
            self._current.keep_alive = False

    def idle_before(self, time: float) -> bool:
        """Whether no request has been read to the end of its head, and none been answered, since `time`."""
        return 0.0 < self._idle_since < time

    # --- What the parser finds

    def data_received(self, data: bytes) -> None:
        if self._reading is None:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # not offered: the request is answered as if it had not been asked for
            if self._reading is not None:
                self._reading.keep_alive = False
            elif self._current is not None:
                (self._waiting[-1] if self._waiting else self._current).keep_alive = False
        except httptools.HttpParserError:
            self._refuse(b"Invalid HTTP request received.")
        if self._head > _LONGEST_HEAD and self._reading is None:
            self._refuse(b"The request head is too large.")

    def _refuse(self, why: bytes) -> None:
        logs.get().warning("http.refused", why=why.decode("ascii"), client=self._client)
        if self._current is None and not self.transport.is_closing():
            head = b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            self.transport.write(head % (_STATUS[400], self.common.lines(self.state), len(why), why))
        self.transport.close()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is None:  # a trailer is no header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._head = 0
        scope = self._scope()
        keep_alive = scope["http_version"] == "1.1" and self._parser.should_keep_alive()
        self._reading = exchange = Exchange(self, scope, keep_alive=keep_alive)
        if self._current is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.pause_reading()

    def _scope(self) -> dict[str, Any]:
        url, query = self._url, b""
        if url != b"/":
            parsed = httptools.parse_url(url)
            url, query = parsed.path or b"/", parsed.query or b""
        path = url.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": self._parser.get_http_version(),
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url,
            "query_string": query,
            "headers": self._headers,
        }

    def on_body(self, body: bytes) -> None:
        if self._reading is not None:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        exchange, self._reading = self._reading, None
        if exchange is not None:
            exchange.fed()

    # --- One request after another

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self._idle_since = 0.0
        exchange.task = task = self.loop.create_task(exchange.run(self.app))
        self.state.tasks.add(task)

    def answered(self, exchange: Exchange) -> None:
        """The current request has its whole answer: the next one, if it is here already."""
        self.state.total_requests += 1
        self._current = None
        self._idle_since = self.loop.time()
        if not exchange.keep_alive:
            self.transport.close()
        if self.transport.is_closing():
            return
        self.resume_reading()
        if self._waiting:
            self._start(self._waiting.popleft())


class Exchange:
    """One request and its answer: the two callables of ASGI."""

    __slots__ = ("_arrived", "_body", "_chunked", "_complete", "_due", "_gone", "_head", "_protocol", "_stage", "_taken",
                 "keep_alive", "scope", "task")  # fmt: skip

    def __init__(self, protocol: HttpProtocol, scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
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
        except BaseException:  # noqa: BLE001  # the last boundary: a task that is cancelled owes its client an end, too
            logs.get().error("http.application_failed", exc_info=True)
        finally:
            del scope[WHOLE_ANSWER]  # or each request would be garbage that only the collector finds
            self._protocol.state.tasks.discard(self.task)
        if self._stage < _ALL and not self._gone:
            self._break_off()

    def _break_off(self) -> None:
        self.keep_alive = False
        if self._stage < _PART:
            why = b"Internal Server Error"
            length = (b"content-length", b"%d" % len(why))
            self._protocol.transport.write(self._begin(500, (length,), why, more=False))
        self._end()

    def _end(self) -> None:
        self._stage = _ALL
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
        self._wake()

    def fed(self) -> None:
        """That was all of it."""
        self._complete = True
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

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """The whole answer at once, without the two messages of ASGI; False when the client cannot take it now."""
        protocol = self._protocol
        if self._stage != _NOTHING or self._gone or protocol.writable is not None:
            return False
        protocol.transport.write(self._begin(status, headers, body, more=False))
        self.keep_alive = self.keep_alive and self._due <= 0
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
            more_lines += b"connection: close\r\n"
        lines = self._protocol.common.lines(self._protocol.state)
        return b"".join((_STATUS[status], lines, text, more_lines, b"\r\n", self._part(body, more=more)))

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
