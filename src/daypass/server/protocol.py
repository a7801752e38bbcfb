"""HTTP/1.1 between a socket and the application, with as little work for each request as possible.

The parser is httptools, the contract is ASGI 3 and uvicorn's for its protocols. Compared with uvicorn's own protocol it
saves a timer, an event, a copy or a second write for every request. It also closes a connection that does not complete
the head of a request in time or makes it too long (attack A108). It must never read an unbounded part of an unread body
into memory, and the application must never be able to break the framing of a response.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from daypass.domain.errors import ErrorKind
from daypass.observability import logs
from daypass.scheduling.threads import abandon
from daypass.server.bodies import Connections, readable, scope_of, signed_for_iam, with_head, without_upgrade
from daypass.server.exchange import STATUS, Exchange
from daypass.wire.http import HOLD

_LONGEST_HEAD: Final = 65_536  # bytes; the application refuses far shorter ones, in the format of its protocol
_TOO_LARGE: Final = b"The request head is too large."
_MOST_WAITING: Final = 32  # pipelined requests of one connection
_MOST_CHUNKS: Final = 8_192  # of its requests that wait for an answer; each costs about a microsecond (attack A229)
_LINGER_SECONDS: Final = 0.3  # how long a stopping server waits for the next request of an idle connection
_DISCARD_SECONDS: Final = 1.0  # how long the rest of a refused body is read
_AGAIN_SECONDS: Final = 0.05  # bytes received and not read yet
_LAST_DATA: Final = 52  # of tcpi_last_data_recv in Linux's struct tcp_info
_TCP_INFO_BYTES: Final = _LAST_DATA + 4
_URGENT: Final = frozenset({b"/healthz", b"/readyz"})  # paths that do not wait in the queue
_MANAGEMENT: Final = (b"/api/", b"/metrics")  # they have a reserved part of each turn, as IAM has
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class HttpProtocol(asyncio.Protocol):
    """One connection. It has fewer than 30 attributes: with more, CPython keeps them in a dictionary, and each of the 110
    accesses of a request takes longer.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002  # uvicorn gives it; the application keeps its own state
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        common: Connections,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.app: Any = config.loaded_app
        self.state = server_state
        self.common = common
        common.attach(self.loop)
        self.bodies = common.bodies
        self.limited_address = ""
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.writable: asyncio.Event | None = None  # set while the transport accepts no more data
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()  # pipelined behind the current one
        self._work: asyncio.Task[None] | None = None
        self._wanted: asyncio.Future[None] | None = None  # set while the task is idle
        self._current: Exchange | None = None  # the one whose response is due
        self._reading: Exchange | None = None  # the one whose body is being read
        self._may_begin = False  # the next request has its turn
        self._in_flight = False  # a request has begun and counts as one in flight
        self._late = False  # it has waited too long for its turn
        self._held: asyncio.TimerHandle | None = None  # no request begins before it ends (see HOLD)
        self._stopping = False  # the next response is the last
        self.idle_since = 0.0  # 0 while a request is being served or waits for its turn
        self._full_since = 0.0  # since when the transport accepts no more data; 0 while it does
        self._paused = False
        self.lost = False
        self._last: bytes | None = None  # if set, nothing more is read; the refusal behind the requests in progress
        self._head = 0  # bytes of a head, or around the body: not of the body, nor the usual framing of its chunks
        self._chunks = 0  # received since there was no request without an answer
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._scope: dict[str, Any] = {}  # what all requests have in common

    # --- The connection

    # uvloop's transports do not derive from asyncio's classes.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._scope = scope_of(transport)
        self.limited_address = self.common.limited_address(self._scope["client"])
        if not self.common.add(self, self.limited_address):
            self._last = b""
            self._report(ErrorKind.OVERLOADED, "too many connections")
            transport.write(_FULL)
            transport.close()
            return
        self.idle_since = now = self.loop.time()
        self._wait(self.common.holds.left(self.limited_address, now))
        self._work = self.loop.create_task(self._answer_all())
        self.state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own protocols only

    def connection_lost(self, _: Exception | None) -> None:
        self.state.connections.discard(self)
        self.common.discard(self, self.limited_address)
        if self._held is not None:
            self._held.cancel()
        for waiting in self._waiting:
            waiting.release()
        for exchange in (self._current, *self._waiting):
            if exchange is not None:
                exchange.disconnect()
        self._waiting.clear()
        self.lost = True
        self._leave()
        if self._current is not None and self._work is not None:
            abandon(self._work)
        self._wake()
        self.resume_writing()
        self._reading = None
        self._parser = None  # type: ignore[assignment]  # it refers to this object: without the cycle, memory is freed at once

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
        """Called by uvicorn when the server stops: closes the connection after the responses that are due. An idle client
        may be sending its next request, so it gets a moment in which that is served.
        """
        self._stopping = True
        self._end_hold()
        if self._current is not None:
            self._current.end_stream()
        due = self._waiting[-1] if self._waiting else self._current
        if due is not None and not self.idle_since:
            due.keep_alive = False
        else:
            self.loop.call_later(_LINGER_SECONDS, self._end_lingering)

    def _end_lingering(self) -> None:
        if not self.idle_since or self.transport.is_closing():
            return
        if readable((self,)):
            self.loop.call_later(_AGAIN_SECONDS, self._end_lingering)
        else:
            self.transport.close()

    def end_at_once(self) -> None:
        """Closes an idle connection, because another one needs its slot."""
        self.common.discard(self, self.limited_address)
        self.idle_since = 0.0
        self.transport.close()

    def end_serving(self) -> asyncio.Task[None] | None:
        """Cancels the task of this connection and returns it. It answers a request in progress with 503, then closes."""
        self._last = b""
        if self._work is not None:
            self._work.cancel()
        return self._work

    def end_if_overdue(self, before: float) -> None:
        """Cancels a request that was complete before `before` and has no response yet."""
        current = self._current
        if current is not None and 0.0 < current.since < before and self._work is not None and current.overdue():
            self._work.cancel()

    def end_turn_if_long(self, before: float) -> None:
        """A request that has been served since `before`, a stream for example, no longer counts as one in flight."""
        if self._current is not None and 0.0 < self._current.since < before:
            self._leave()

    def end_if_idle(self, before: float) -> None:
        """Closes the connection if since `before` no request head has been completed, no request has been answered and the
        client has received nothing of a response. Unsent data are dropped, or a client could keep it open indefinitely.
        """
        if 0.0 < self._full_since < before:
            self.transport.abort()
        elif 0.0 < self.idle_since < before:
            if self.transport.is_closing():
                self.transport.abort()
            else:
                self.transport.close()

    # --- Parser callbacks

    def data_received(self, data: bytes) -> None:
        if self._last is not None:
            self.bodies.dropped(len(data))
            return
        self._head += len(data)
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            self._refuse(b"Invalid HTTP request received.")
        if self._head > _LONGEST_HEAD:  # in a head, or between and after the chunks of a body
            self._refuse(_TOO_LARGE)

    def _feed(self, data: bytes) -> bytes:
        """Parses the data. Returns b"", or what must be parsed next: upgrades are not offered (RFC 9110, section 7.8), but
        the parser takes all behind such a head for another protocol, also its body. So it gets the head without Upgrade.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            head = without_upgrade(self._parser, self._url, self._headers)
            self._parser, self._url, self._headers = httptools.HttpRequestParser(self), b"", []
            return head + data[asked.args[0] :]
        return b""

    def _refuse(self, why: bytes) -> None:
        """Nothing behind this is read. The complete requests before it are answered first (RFC 9112, section 9.3.2)."""
        if self._last is not None:
            return
        logs.get().warning("http.refused", why=why.decode("ascii"), client=self._scope["client"])
        self._report(ErrorKind.MALFORMED_REQUEST, why.decode("ascii"))
        self._last = why
        if self._waiting and self._waiting[-1] is self._reading:
            self._waiting.pop().release()
        serving = self._current is not None and not self.idle_since
        if self._waiting or (serving and self._current is not self._reading):
            self.pause_reading()
        elif serving:
            self.transport.close()
        else:
            self._end_refused(why)

    def _end_refused(self, why: bytes) -> None:
        head = b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
        self.transport.write(head % (STATUS[431 if why == _TOO_LARGE else 400], self.lines(), len(why), why))
        self._end(complete=why != _TOO_LARGE)

    def _report(self, kind: ErrorKind, reason: str) -> None:
        """Puts a refusal on the record. It is counted: what is not a request has nothing else to record."""
        client = self._scope["client"]
        self.common.on_refusal(client[0] if client else "", kind, reason)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return  # this head is read again (see `_feed`)
        if len(self._waiting) >= _MOST_WAITING:  # those are answered; the client must send the others again
            self._waiting[-1].keep_alive = False
            self._last = b""
            self.pause_reading()
            raise OverflowError("too many requests are waiting")  # stops parsing the data received so far
        self._head = 0
        self._chunks = self._chunks if self._waiting or self._current else 0
        scope = with_head(self._scope, self._parser, self._url, self._headers)
        keep_alive = scope["http_version"] == "1.1" and self._parser.should_keep_alive() and not self._stopping
        self._headers = []  # the rest are trailers, which are ignored
        self._reading = exchange = Exchange(self, scope, keep_alive=keep_alive)
        self._waiting.append(exchange)
        if self._current is None and len(self._waiting) == 1 and (self._held is None or scope["raw_path"] in _URGENT):
            self._wait_for_turn(scope["raw_path"], scope["headers"])
        else:
            self.pause_reading()

    def _wait_for_turn(self, path: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.idle_since = 0.0
        turns = self.common.turns
        management = turns.busy and (path.startswith(_MANAGEMENT) or signed_for_iam(headers))
        age = self._age() if turns.busy else 0.0
        turns.enter(self, source=self.limited_address, urgent=path in _URGENT, management=management, age=age)

    def _age(self) -> float:
        """Seconds since the system received the last data: on a busy server they waited in its buffers, also before the
        connection was accepted, and count as a part of the wait.
        """
        sock = self.transport.get_extra_info("socket")
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except (AttributeError, OSError):  # a Unix socket, or another system
            return 0.0
        return int.from_bytes(info[_LAST_DATA:], sys.byteorder) / 1000 if len(info) == _TCP_INFO_BYTES else 0.0

    def on_chunk_header(self) -> None:
        self._chunks, self._head = self._chunks + 1, self._head - 16  # size, line ends; the rest is an extension
        if self._chunks > _MOST_CHUNKS:
            raise ValueError("too many chunks")  # the parser fails

    def on_body(self, body: bytes) -> None:
        self._head -= len(body)
        if self._reading is not None:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        exchange, self._reading = self._reading, None
        self._url, self._headers = b"", []  # for the next request: trailers are dropped
        self._head = 0
        if exchange is not None:
            exchange.fed()

    # --- One request after another

    def lines(self) -> bytes:
        """The header lines of every response."""
        common, headers = self.common, self.state.default_headers
        return common.text if headers is common.made_from else common.render(headers)

    def begin(self, *, late: bool) -> None:
        """The next request has its turn (see `Turns`)."""
        self._may_begin, self._late, self._in_flight = True, late, True
        self._wake()
        if self.lost:
            self._leave()

    def _leave(self) -> None:
        if self._in_flight:
            self._in_flight = False
            self.common.turns.leave(self.limited_address)

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def _answer_all(self) -> None:
        """Serves the requests of this connection, in one task: making one costs as much as parsing a request."""
        try:
            while not self.lost:
                if not self._may_begin or not self._waiting or self.transport.is_closing():
                    self._wanted = self.loop.create_future()
                    await self._wanted
                    self._wanted = None
                    continue
                self._may_begin = False
                self._current = exchange = self._waiting.popleft()
                self.idle_since = 0.0
                if self._paused and not self._waiting and self._last is None:
                    self.resume_reading()
                self.state.tasks.add(self._work)  # type: ignore[arg-type]  # it is this task
                try:
                    await exchange.run(self.app, late=self._late)
                finally:
                    self._current = None
                    self._leave()
                    self.state.tasks.discard(self._work)
                self._hold(exchange.scope.get(HOLD, 0))
                del exchange  # an idle connection holds no request
                if self._waiting and self._held is None:
                    await asyncio.sleep(0)  # the other connections get a turn between two requests
                    self.common.turns.enter(self, source=self.limited_address)
        finally:
            self.transport.close()  # no later request would be answered

    def _hold(self, seconds: float) -> None:
        """The next request, and those of new connections of its address, begin in so many seconds; a proxy's never wait."""
        if seconds and self.limited_address:
            self.common.holds.begin(self.limited_address, self.loop.time(), seconds)
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        if seconds and not (self._stopping or self.lost):
            self._held = self.loop.call_later(seconds, self._end_hold)

    def _end_hold(self) -> None:
        if self._held is None:
            return
        self._held.cancel()
        self._held = None
        if self._waiting and not self.transport.is_closing():
            scope = self._waiting[0].scope
            self._wait_for_turn(scope["raw_path"], scope["headers"])

    def _end(self, *, complete: bool) -> None:
        """Closes the connection after its last response. While the request is arriving, closing would reset the connection
        and the client would lose the response, so the rest is read and dropped for a moment.
        """
        if complete or self._scope["scheme"] == "https" or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._last = b""
        self.transport.write_eof()
        self.resume_reading()
        self.loop.call_later(_DISCARD_SECONDS, self.transport.close)

    def answered(self, exchange: Exchange) -> None:
        """Called when the current request has its whole response."""
        self.state.total_requests += 1
        self.idle_since = 0.0 if self._waiting else self.loop.time()
        if not exchange.keep_alive:
            self._end(complete=exchange.complete)
        elif self._last and not self._waiting:
            self._end_refused(self._last)
        elif self._paused and not self._waiting and not self.transport.is_closing():
            self.resume_reading()
