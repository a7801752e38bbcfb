"""What a connection of an HTTP/2 server receives: frames, flow control and their limits.

There is no push, no priority and no upgrade from HTTP/1.1. It must never keep more of a peer than the limits below, nor
work on for one whose frames have no use.
Sources: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from daypass.http2 import frames
from daypass.http2.frames import MAX_HEADERS, ErrorCode, Fields, HeaderBlocks, Http2Error, frame
from daypass.http2.sending import SendingHalf, Stream

MAX_STREAMS: Final = 128  # at once
MAX_BODY: Final = 65_541  # bytes: a message of gRPC with its prefix
MAX_BUFFERED: Final = 1 << 25  # bytes, of all connections
MAX_CONTINUATIONS: Final = 8  # of a header block
MAX_SETTINGS: Final = 32  # in a frame
_SHORT: Final = 256  # bytes: a smaller DATA frame has a use only at the end
_STREAM_WINDOW: Final = 2 * MAX_BODY  # so that no stream needs a WINDOW_UPDATE
_WINDOW: Final = 1 << 20

_SETTINGS: Final = frame(
    frames.SETTINGS,
    0,
    0,
    frames.SETTING.pack(frames.MAX_CONCURRENT_STREAMS, MAX_STREAMS)
    + frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, _STREAM_WINDOW)
    + frames.SETTING.pack(frames.MAX_HEADER_LIST_SIZE, MAX_HEADERS),
) + frame(frames.WINDOW_UPDATE, 0, 0, (_WINDOW - frames.DEFAULT_WINDOW).to_bytes(4, "big"))


@dataclass(slots=True)
class Buffer:
    """Bytes of the requests that all connections of a server keep."""

    used: int = 0


class Http2Connection(SendingHalf):
    """A connection. A subclass overrides the methods that give a request its meaning.

    `read_head`: makes of header fields the `head` of a stream, or raises MalformedRequest.
    """

    def __init__(self, read_head: Callable[[Fields], Any], buffer: Buffer) -> None:
        super().__init__()
        self._buffer = buffer
        self._has_preface = False
        self._rest = b""
        self._blocks = HeaderBlocks(read_head)
        self._open_block: tuple[int, int, list[bytes]] | None = (
            None  # stream, flags and parts: CONTINUATION must follow
        )
        self._unread = _WINDOW

    def request_begins(self, stream: Stream) -> None:
        """Called with the head of a request."""

    def request_ends(self, stream: Stream) -> None:
        """Called when a request is complete."""

    def body_is_too_large(self, stream: Stream) -> None:
        """Called for a request whose body is over a limit."""

    def end_of_read(self) -> None:
        """Called after all frames of a read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in SendingHalf
        super().connection_made(transport)
        self.write(_SETTINGS)

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        self.heard = self.loop.time()
        if self._rest:
            data = self._rest + data
        try:
            self._rest = data[self._read(data) :]
        except Http2Error as error:
            self.end(error.code)
        else:
            self.end_of_read()

    def _read(self, data: bytes) -> int:
        """Reads whole frames; how many bytes they have. Raises Http2Error."""
        at, end = 0, len(data)
        if not self._has_preface:
            if data[:24] != frames.PREFACE[:end]:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR)
            if end < len(frames.PREFACE):
                return 0
            at, self._has_preface = len(frames.PREFACE), True
        while end - at >= frames.HEAD.size and not self.ended:
            high, low, kind, flags, number = frames.HEAD.unpack_from(data, at)
            stop = at + frames.HEAD.size + (high << 16 | low)
            if high or low > frames.MAX_FRAME:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR)
            if stop > end:
                break
            self._frame(kind, flags, number & frames.MAX_ID, data[at + frames.HEAD.size : stop])
            at = stop
        return at

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        first = not self.settled and (kind != frames.SETTINGS or flags & frames.ACK)
        if (
            first
            or (kind == frames.CONTINUATION) == (self._open_block is None)
            or (kind < frames.PING and kind != frames.SETTINGS and not number)
        ):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        if kind == frames.DATA:
            self._data(flags, number, payload)
        elif kind == frames.HEADERS:
            self._headers(flags, number, payload)
        else:
            self.spend()
            if kind < len(self._METHODS):
                self._METHODS[kind](self, flags, number, payload)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size, ends = len(payload), flags & frames.END_STREAM
        self._unread -= size
        if self._unread < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR)
        if self._unread < _WINDOW // 2:
            self.write(frame(frames.WINDOW_UPDATE, 0, 0, (_WINDOW - self._unread).to_bytes(4, "big")))
            self._unread = _WINDOW
        payload = frames.unpadded(flags, payload)
        if not ends and len(payload) < _SHORT:
            self.spend()
        stream = self.streams.get(number)
        if stream is None:
            if number > self.last_id or not number % 2:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR)  # it is idle
            self.spend()  # it has been closed or reset
            return
        stream.unread -= size
        if stream.ended or stream.unread < 0:
            self.spend()
            self.reset(number, ErrorCode.STREAM_CLOSED if stream.ended else ErrorCode.FLOW_CONTROL_ERROR)
            return
        if ends and not stream.body:
            stream.body = payload
        else:
            stream.body = stream.body or bytearray()
            stream.body += payload
        self._buffer.used += len(payload)
        if len(stream.body) > MAX_BODY or self._buffer.used > MAX_BUFFERED:
            self.body_is_too_large(stream)
        elif ends:
            self._end_request(stream)

    def close_stream(self, stream: Stream) -> None:
        self._buffer.used -= len(stream.body)
        stream.body = b""
        super().close_stream(stream)

    def _end_request(self, stream: Stream) -> None:
        stream.ended = True
        self.request_ends(stream)

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        payload = frames.unpadded(flags, payload)
        if flags & frames.WITH_PRIORITY:
            if len(payload) < 5:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR)
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._header_block(flags, number, payload)
        else:
            self._open_block = number, flags, [payload]

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        assert self._open_block is not None  # else the frame is refused
        opened, first, parts = self._open_block
        parts.append(payload)
        if number != opened:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        if len(parts) > MAX_CONTINUATIONS + 1 or sum(map(len, parts)) > MAX_HEADERS:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            self._open_block = None
            self._header_block(first, number, b"".join(parts))

    def _header_block(self, flags: int, number: int, block: bytes) -> None:
        head = self._blocks.decode(block)
        stream = self.streams.get(number)
        if stream is not None and not stream.ended:  # trailers
            self.spend()
            if flags & frames.END_STREAM:
                self._end_request(stream)
            else:
                self.reset(number, ErrorCode.PROTOCOL_ERROR)
            return
        if number <= self.last_id or not number % 2:
            raise Http2Error(ErrorCode.STREAM_CLOSED if number % 2 else ErrorCode.PROTOCOL_ERROR)
        self.last_id = number
        if head is None or self.leaving or len(self.streams) >= MAX_STREAMS:
            self.spend()
            self.reset(number, ErrorCode.PROTOCOL_ERROR if head is None else ErrorCode.REFUSED_STREAM)
            return
        stream = self.streams[number] = Stream(self, number, head, _STREAM_WINDOW)
        self.request_begins(stream)
        if flags & frames.END_STREAM:
            self._end_request(stream)

    def _priority(self, _flags: int, _number: int, payload: bytes) -> None:
        frames.need_size(payload, 5)

    def _reset(self, _flags: int, number: int, payload: bytes) -> None:
        frames.need_size(payload, 4)
        if number > self.last_id or not number % 2:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        if stream := self.streams.get(number):
            self.close_stream(stream)

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        if len(payload) % frames.SETTING.size or (flags & frames.ACK and payload):
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR)
        if flags & frames.ACK:
            return
        if len(payload) > MAX_SETTINGS * frames.SETTING.size:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM)
        self.settled = True
        before = self.peer_window
        for name, value in frames.SETTING.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR)
                self.peer_window = value
            elif (name == frames.ENABLE_PUSH and value > 1) or (
                name == frames.MAX_FRAME_SIZE and not frames.MAX_FRAME <= value < 1 << 24
            ):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        for stream in list(self.streams.values()):
            self.open_window(stream.id, self.peer_window - before)
        self.write(frame(frames.SETTINGS, frames.ACK, 0))

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        frames.need_size(payload, 8)
        if not flags & frames.ACK:
            self.write(frame(frames.PING, frames.ACK, 0, payload))

    def _goaway(self, _flags: int, number: int, _payload: bytes) -> None:
        if number:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        self.leave_after_streams()

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        frames.need_size(payload, 4)
        more = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if number > self.last_id or (not more and not number):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        if more:
            self.open_window(number, more)
        else:
            self.reset(number, ErrorCode.PROTOCOL_ERROR)

    _METHODS = (
        _data, _headers, _priority, _reset, _settings, _push_promise, _ping, _goaway, _window_update, _continuation
    )  # fmt: skip  # by the numbers of their frames
