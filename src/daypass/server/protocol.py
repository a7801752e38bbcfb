"""HTTP/1.1 between a socket and the application, with as little as possible on each request's way.

The parser is httptools, the contract is ASGI 3 and uvicorn's for its protocols. It differs from uvicorn's own protocol
in what it saves (a timer, an event, a copy or a second write for every request) and in what it adds: a connection that
has not finished the head of a request in time, or makes it too long, is closed (attack A108). It must never read a body
that nobody takes into memory without end, and never let anything of the application's break the framing of an answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from daypass.observability import logs
from daypass.server.exchange import STATUS, Exchange
from daypass.wire.http import CLIENT_CERTIFICATE

_LONGEST_HEAD: Final = 65_536  # bytes; the application refuses far shorter ones, in its protocol's words
_MOST_WAITING: Final = 32  # requests that are pipelined behind one another
_SWEEPS: Final = 13  # looks at idle connections within the time that they may be idle
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Common:
    """What the connections of one server share: the lines that all answers have, and one timer for all that are idle."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._state: ServerState | None = None
        self.made_from: list[tuple[bytes, bytes]] | None = None
        self.text = b""

    def attach(self, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        """Called by each connection; the first one of a server sets the timer."""
        if state is not self._state:
            self._state = state
            self._sweep(state, loop)

    def render(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The header lines that every answer has. uvicorn makes another list each time that they change."""
        self.text = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.made_from = headers
        return self.text

    def _sweep(self, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        before = loop.time() - self._idle_seconds
        for connection in list(state.connections):
            if isinstance(connection, HttpProtocol):
                connection.end_if_idle(before)
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
        self._work: asyncio.Task[None] | None = None
        self._wanted: asyncio.Future[None] | None = None  # there while the task has nothing to do
        self._current: Exchange | None = None  # the one whose answer is due
        self._reading: Exchange | None = None  # the one whose body is being read
        self._idle_since = 0.0  # 0 while a request is being answered
        self._full_since = 0.0  # since when the transport takes no more; 0 while it does
        self._paused = False
        self._lost = False
        self._no_more = False  # what still comes is not read: too much is waiting
        self._head = 0  # bytes since the last that were a body's
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._server: tuple[str, int | None] | None = None
        self._client: tuple[str, int] | None = None
        self._scheme = "http"
        self._certificate = b""  # the client's, if TLS asked for one and verified it

    # --- The connection

    # uvloop's transports are of no class of asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._server, self._client = get_local_addr(transport), get_remote_addr(transport)
        self._scheme = "https" if is_ssl(transport) else "http"
        self._certificate = _certificate_of(transport) if self._scheme == "https" else b""
        self._idle_since = self.loop.time()
        self._work = self.loop.create_task(self._answer_all())
        self.state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own protocols only

    def connection_lost(self, _: Exception | None) -> None:
        self.state.connections.discard(self)
        for exchange in (self._current, *self._waiting):
            if exchange is not None:
                exchange.disconnect()
        self._waiting.clear()
        self._lost = True
        self._go_on()
        self.resume_writing()

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None:
        if self.writable is None:
            self.writable = asyncio.Event()
            self._full_since = self.loop.time()

    def resume_writing(self) -> None:
        if self.writable is not None:
            self.writable.set()
            self.writable = None
            self._full_since = 0.0

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
        due = self._current or (self._waiting[0] if self._waiting else None)
        if due is None or self._idle_since:
            self.transport.close()
        else:
            due.keep_alive = False

    def end_if_idle(self, before: float) -> None:
        """Ends the connection if, since `before`, no request has been read to the end of its head and none been answered.

        And if the client has taken nothing of an answer: then what is unsent goes with the connection, or it would
        stay for as long as the client likes.
        """
        if 0.0 < self._full_since < before:
            self.transport.abort()
        elif 0.0 < self._idle_since < before:
            if self.transport.is_closing():
                self.transport.abort()
            else:
                self.transport.close()

    # --- What the parser finds

    def data_received(self, data: bytes) -> None:
        if self._no_more:
            return
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # not offered: the request is answered as if it had not been asked for
            asked = self._reading or (self._waiting[-1] if self._waiting else self._current)
            if asked is not None:
                asked.keep_alive = False
        except httptools.HttpParserError:
            if not self._no_more:
                self._refuse(b"Invalid HTTP request received.")
        if self._head > _LONGEST_HEAD:  # of a head, or of what is between the parts of a body and behind it
            self._refuse(b"The request head is too large.")

    def _refuse(self, why: bytes) -> None:
        logs.get().warning("http.refused", why=why.decode("ascii"), client=self._client)
        if self._current is None and not self.transport.is_closing():
            head = b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            self.transport.write(head % (STATUS[400], self.lines(), len(why), why))
        self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if len(self._waiting) >= _MOST_WAITING:  # those are answered; the client has to ask for the others again
            self._waiting[-1].keep_alive = False
            self._no_more = True
            self.pause_reading()
            raise OverflowError("too many requests are waiting")  # ends the parsing of what is here
        self._head = 0
        scope = self._scope()
        keep_alive = scope["http_version"] == "1.1" and self._parser.should_keep_alive()
        self._headers = []  # what still comes are trailers: nobody looks at them
        self._reading = exchange = Exchange(self, scope, keep_alive=keep_alive)
        self._waiting.append(exchange)
        if self._current is None and len(self._waiting) == 1:
            self._idle_since = 0.0
            self._go_on()
        else:
            self.pause_reading()

    def _scope(self) -> dict[str, Any]:
        url, path, query = self._url, "/", b""
        if url != b"/":
            parsed = httptools.parse_url(url)
            url, query = parsed.path or b"/", parsed.query or b""
            path = unquote(url.decode("ascii"))
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": self._parser.get_http_version(),
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": url,
            "query_string": query,
            "headers": self._headers,
            CLIENT_CERTIFICATE: self._certificate,
        }

    def on_body(self, body: bytes) -> None:
        self._head = 0
        if self._reading is not None:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        exchange, self._reading = self._reading, None
        self._url, self._headers = b"", []  # the next request's: what came as trailers goes
        self._head = 0
        if exchange is not None:
            exchange.fed()

    # --- One request after another

    def lines(self) -> bytes:
        """The header lines that every answer has."""
        common, headers = self.common, self.state.default_headers
        return common.text if headers is common.made_from else common.render(headers)

    def _go_on(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def _answer_all(self) -> None:
        """Answers what comes over this connection. One task for all of it: making one costs as much as parsing a request."""
        try:
            while not self._lost:
                if not self._waiting or self.transport.is_closing():
                    self._wanted = self.loop.create_future()
                    await self._wanted
                    self._wanted = None
                    continue
                self._current = exchange = self._waiting.popleft()
                self._idle_since = 0.0
                if self._paused and not self._waiting and not self._no_more:
                    self.resume_reading()
                self.state.tasks.add(self._work)  # type: ignore[arg-type]  # it is this task
                try:
                    await exchange.run(self.app)
                finally:
                    self._current = None
                    self.state.tasks.discard(self._work)
                if self._waiting:
                    await asyncio.sleep(0)  # the other connections have their turn between two of these
        finally:
            self.transport.close()  # nobody would answer what comes over it

    def answered(self, exchange: Exchange) -> None:
        """The current request has its whole answer."""
        self.state.total_requests += 1
        self._idle_since = self.loop.time()
        if not exchange.keep_alive:
            self.transport.close()
        elif self._paused and not self._waiting and not self.transport.is_closing():
            self.resume_reading()


def _certificate_of(transport: asyncio.Transport) -> bytes:
    """The certificate (DER) that the client showed; b"" where TLS asked for none, and so verified none."""
    secured = transport.get_extra_info("ssl_object")
    context = transport.get_extra_info("sslcontext")
    if secured is None or context is None or context.verify_mode is not ssl.CERT_REQUIRED:
        return b""
    return secured.getpeercert(binary_form=True) or b""
