"""A server of gRPC for calls with one short message, which the agent and Daypass share.

An empty call costs 11 µs of processor time; it is 170 with grpclib and 250 with grpcio, which is too much for a gateway
(`bench/forward_auth.py`). An answer is one message, or a stream of them. It must never begin a call whose message is compressed, cut short or too
large, and no failure of a method may end a connection.
Source: grpc.io, "gRPC over HTTP2".
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Hashable, Mapping
from contextlib import aclosing, suppress
from enum import IntEnum
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from daypass.http2.connection import MAX_BODY, Buffer, Http2Connection
from daypass.http2.frames import END_HEADERS, END_STREAM, HEADERS, ErrorCode, Fields, MalformedRequest, frame
from daypass.http2.sending import Stream

_PREFIX: Final = 5  # bytes before a message
_AT_ONCE: Final = 16  # calls that begin before others have a turn
_SWEEP_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 0.3  # for calls that are on their way when the server closes
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3_600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_REQUIRED: Final = {b":method", b":scheme", b":path"}
_OF_CONNECTIONS: Final = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
_PRINTABLE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Unary = Callable[["GrpcCall"], Awaitable[bytes]]
Streaming = Callable[["GrpcCall"], AsyncGenerator[bytes]]


class Status(IntEnum):
    """Codes of gRPC."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class GrpcError(Exception):
    """Ends a call with this status."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class GrpcCall(NamedTuple):
    """A call with its message."""

    metadata: tuple[tuple[bytes, bytes], ...]
    message: bytes
    transport: asyncio.Transport

    def only(self, name: bytes) -> str:
        """The value of a key that is sent once; "" otherwise."""
        values = [value for key, value in self.metadata if key == name]
        return values[0].decode("latin-1") if len(values) == 1 else ""


class _Head(NamedTuple):
    """What the header fields of a call say. `timeout`: None without one, negative for one in another form."""

    path: str
    metadata: tuple[tuple[bytes, bytes], ...]
    timeout: float | None
    is_grpc: bool


def read_head(fields: Fields) -> _Head:
    """Raises MalformedRequest (RFC 9113, section 8.1.1)."""
    named: dict[bytes, bytes] = {}
    metadata: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name[:1] == b":":
            if metadata or name in named:
                raise MalformedRequest
            named[name] = value
        elif not name or name != name.lower() or name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
            raise MalformedRequest
        else:
            metadata.append((name, value))
    if not named.keys() >= _REQUIRED or not named.keys() <= _REQUIRED | {b":authority"} or not named[b":path"]:
        raise MalformedRequest
    given = dict(metadata)
    is_grpc = named[b":method"] == b"POST" and given.get(b"content-type", b"").startswith(b"application/grpc")
    timeout = _timeout(given[b"grpc-timeout"]) if b"grpc-timeout" in given else None
    return _Head(named[b":path"].decode("latin-1"), tuple(metadata), timeout, is_grpc)


def _timeout(value: bytes) -> float:
    found = _TIMEOUT.fullmatch(value)
    return int(found[1]) * _SECONDS[found[2]] if found else -1.0


def _message_of(body: bytes) -> bytes:
    """The message of a whole body. Raises GrpcError."""
    if body[:1] == b"\1":
        raise GrpcError(Status.UNIMPLEMENTED, "messages may not be compressed")
    length = int.from_bytes(body[1:_PREFIX], "big")
    if length > MAX_BODY - _PREFIX:
        raise GrpcError(Status.RESOURCE_EXHAUSTED, f"a message may have {MAX_BODY - _PREFIX} bytes")
    if body[:1] != b"\0" or len(body) != _PREFIX + length:
        raise GrpcError(Status.INVALID_ARGUMENT, "there must be one message, which is not cut short")
    return body[_PREFIX:]


# --- The header blocks that it sends


def _literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing (RFC 7541, section 6.2.2). `name` is short, `value` below 16 KiB."""
    over = len(value) - 127
    length = bytes((len(value),)) if over < 0 else bytes((127, over & 0x7F | 0x80, over >> 7))
    return b"\0%c%b%b%b" % (len(name), name, length, value)


_NO_TABLE: Final = b"\x20"  # whatever the peer allows
_OPENING: Final = _NO_TABLE + b"\x88" + _literal(b"content-type", b"application/grpc")  # 0x88: ":status: 200"
_NO_GRPC: Final = _NO_TABLE + _literal(b":status", b"415")
_DONE: Final = _literal(b"grpc-status", b"0")


def _refusal(status: Status, why: str) -> bytes:
    text = quote(why[:500], _PRINTABLE).encode("ascii")
    return _literal(b"grpc-status", b"%d" % status) + _literal(b"grpc-message", text)


class _Connection(Http2Connection):
    def __init__(self, server: GrpcServer) -> None:
        super().__init__(read_head, server.buffer)
        self.peer: Hashable = None
        self._server = server
        self._begun: list[Stream] = []  # in this read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in SendingHalf
        super().connection_made(transport)
        self._server.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.discard(self)

    def request_begins(self, stream: Stream) -> None:
        self._begun.append(stream)

    def request_ends(self, stream: Stream) -> None:
        self._server.add(self, stream)

    def body_is_too_large(self, stream: Stream) -> None:
        self.refuse(stream, Status.RESOURCE_EXHAUSTED, f"a message may have {MAX_BODY - _PREFIX} bytes")

    def end_of_read(self) -> None:
        self._server.begin()
        for stream in self._begun:
            if stream.is_open:
                given, most = stream.head.timeout, self._server.seconds
                seconds = most if given is None else given if most is None else min(given, most)
                if seconds is not None:
                    stream.timer = self.loop.call_at(stream.opened + seconds, self.request_is_late, stream)
        self._begun.clear()

    def request_is_late(self, stream: Stream) -> None:
        self.refuse(stream, Status.DEADLINE_EXCEEDED, "the call took too long")

    def refuse(self, stream: Stream, status: Status, why: str) -> None:
        """Ends a call without an answer, or in the middle of one."""
        self.end_call(stream, _refusal(status, why))

    def answer(self, stream: Stream, message: bytes, *, last: bool) -> None:
        """Sends a message."""
        opening = b"" if stream.answered else frame(HEADERS, END_HEADERS, stream.id, _OPENING)
        end = frame(HEADERS, END_HEADERS | END_STREAM, stream.id, _DONE) if last else b""
        self.send(stream, opening, b"\0%b%b" % (len(message).to_bytes(4, "big"), message), end)

    def end_call(self, stream: Stream, fields: bytes, opening: bytes = _OPENING) -> None:
        """Sends the last fields. `opening`: those of an answer that has not begun."""
        if stream.is_open:
            block = fields if stream.answered else opening + fields
            self.finish(stream, frame(HEADERS, END_HEADERS | END_STREAM, stream.id, block))


# --- The server


class GrpcServer:
    """Serves methods at a listening socket, in the running event loop.

    Args:
        unary: the methods that answer with one message, by their paths.
        streaming: those that answer with any number.
        connections: how many a peer may have. Idle ones cost descriptors, which the whole process shares.
        peer_of: what identifies the peer of a connection; by default all are one.
        seconds: how long a call may take at most, if its client does not say less.
        at_once: unary calls.
    """

    def __init__(
        self,
        unary: Mapping[str, Unary],
        streaming: Mapping[str, Streaming] | None = None,
        *,
        connections: int,
        peer_of: Callable[[asyncio.Transport], Hashable] = lambda _: None,
        seconds: float | None = None,
        at_once: int = 512,
    ) -> None:
        self.buffer = Buffer()
        self.seconds = seconds
        self._unary, self._streaming = unary, streaming or {}
        self._peer_of, self._most = peer_of, connections
        self._at_once = at_once
        self._of_peers: Counter[Hashable] = Counter()
        self._connections: set[_Connection] = set()
        self._waiting: deque[tuple[_Connection, Stream]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()  # of unary calls
        self._followers: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._listener: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self, sock: socket.socket) -> None:
        """Takes over a listening socket."""
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        self._listener = await create(self.connection, sock=sock)
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def connection(self) -> Http2Connection:
        """The protocol of a new connection."""
        return _Connection(self)

    async def close(self, seconds: float = 5.0) -> None:
        """Answers the calls that have begun, or are on their way, if that takes no longer; then closes everything."""
        if self._listener is None or self._sweeping is None:
            return
        self._listener.close()
        self._sweeping.cancel()
        for task in self._followers:
            task.cancel()
        for each in self._connections:
            each.announce()
        if self._connections:
            await asyncio.sleep(_LINGER_SECONDS)
        for each in tuple(self._connections):
            each.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tuple(self._connections):
            each.end(ErrorCode.NO_ERROR)
        await asyncio.gather(*self._tasks, *self._followers, return_exceptions=True)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for each in tuple(self._connections):
            each.sweep(loop.time())
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def enter(self, connection: _Connection) -> None:
        """Counts a connection of its peer, and ends one too many."""
        connection.peer = self._peer_of(connection.transport)
        self._of_peers[connection.peer] += 1
        self._connections.add(connection)
        if self._of_peers[connection.peer] > self._most:
            connection.transport.abort()

    def discard(self, connection: _Connection) -> None:
        """Called when a connection is lost."""
        self._connections.discard(connection)
        self._of_peers[connection.peer] -= 1

    # --- Calls

    def add(self, connection: _Connection, stream: Stream) -> None:
        """Takes a call whose message is complete."""
        head: _Head = stream.head
        if not head.is_grpc:
            connection.end_call(stream, b"", _NO_GRPC)
        elif head.timeout is not None and head.timeout < 0:
            connection.refuse(stream, Status.INVALID_ARGUMENT, "grpc-timeout has another form")
        elif head.path in self._unary or head.path in self._streaming:
            self._waiting.append((connection, stream))
        else:
            connection.refuse(stream, Status.UNIMPLEMENTED, "there is no such method")

    def begin(self) -> None:
        """Begins calls that wait; the others in the next iteration of the event loop, or when one has ended."""
        if self._scheduled:
            return
        for _ in range(_AT_ONCE):
            if not self._waiting or len(self._tasks) >= self._at_once:
                return
            connection, stream = self._waiting.popleft()
            if stream.is_open:
                self._begin(connection, stream)
        if self._waiting:
            self._scheduled = True
            connection.loop.call_soon(self._begin_again)

    def _begin_again(self) -> None:
        self._scheduled = False
        self.begin()

    def _begin(self, connection: _Connection, stream: Stream) -> None:
        unary = stream.head.path in self._unary
        task = _task(connection.loop, self._serve(connection, stream))
        if not task.done():
            stream.task = task
            (self._tasks if unary else self._followers).add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._followers.discard(task)
        self.begin()

    async def _serve(self, connection: _Connection, stream: Stream) -> None:
        head: _Head = stream.head
        try:
            call = GrpcCall(head.metadata, _message_of(bytes(stream.body)), connection.transport)
            if head.path in self._unary:
                connection.answer(stream, await self._unary[head.path](call), last=True)
            else:
                await self._follow(connection, stream, self._streaming[head.path](call))
        except GrpcError as error:
            connection.refuse(stream, error.status, str(error))
        except asyncio.CancelledError:
            connection.refuse(stream, Status.UNAVAILABLE, "the server is closing")
            raise
        except Exception as error:  # noqa: BLE001  # the last boundary
            connection.loop.call_exception_handler({"message": f"{head.path} failed", "exception": error})
            connection.refuse(stream, Status.INTERNAL, "the method failed")

    async def _follow(self, connection: _Connection, stream: Stream, messages: AsyncGenerator[bytes]) -> None:
        async with aclosing(messages):
            async for message in messages:
                connection.answer(stream, message, last=False)
                if stream.pending:
                    stream.drained = connection.loop.create_future()
                    await stream.drained
        connection.end_call(stream, _DONE)


def _task(loop: asyncio.AbstractEventLoop, serve: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Serves as far as possible at once: most calls wait for nothing."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(serve, loop=loop, eager_start=True)
    return loop.create_task(serve)
