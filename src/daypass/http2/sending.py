"""What a connection of an HTTP/2 server sends: its streams, within the windows of the peer, and its end.

Everything that one iteration of the event loop makes is one write. Its header blocks use no dynamic table.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from daypass.http2 import frames
from daypass.http2.frames import ErrorCode, Http2Error, frame

PATIENCE: Final = 1_000  # frames without a use, in excess of those that the peer has earned
_EARNED: Final = 4  # by a stream that is served
_EARNED_A_SECOND: Final = 10
_BEGIN_SECONDS: Final = 10.0  # for the first frames of a connection, and for a whole request
_WRITE_SECONDS: Final = 20.0  # in which the peer must read something
_QUIET_SECONDS: Final = 60.0  # then the peer is asked whether it is there
_PING_SECONDS: Final = 20.0
_IDLE_SECONDS: Final = 900.0  # without a stream
_LEAVE_SECONDS: Final = 10.0


class Stream:
    """A request and its answer."""

    __slots__ = ("answered", "blocked_since", "body", "connection", "drained", "ended", "head", "id", "opened", "pending",
                 "task", "timer", "unread", "window")  # fmt: skip

    def __init__(self, connection: SendingHalf, number: int, head: Any, unread: int) -> None:
        self.connection = connection
        self.id = number
        self.head = head  # what `read_head` has made of its header block
        self.window = connection.peer_window  # for what is sent
        self.unread = unread  # the window for what is received
        self.opened = connection.heard
        self.body: bytes | bytearray = b""
        self.ended = False  # the request is complete
        self.answered = False  # the answer has begun
        self.pending: list[bytes] = []  # data that the windows do not admit, and what follows them
        self.blocked_since = 0.0
        self.drained: asyncio.Future[None] | None = None  # somebody waits until nothing is pending
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self.connection.streams.get(self.id) is self


class SendingHalf(asyncio.Protocol):
    """The sending half."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, Stream] = {}
        self.last_id = 0  # of the peer's streams
        self.peer_window = frames.DEFAULT_WINDOW  # of a new stream
        self.ended = False  # nothing more is read
        self.leaving = False  # it takes no more streams, and closes after the last one
        self.settled = False  # the first frames have come
        self.heard = self.loop.time()  # when data came last
        self._served = self._earned_at = self.heard
        self._blocked_since = 0.0  # since when the transport takes no more; 0 while it does
        self._pinged = self._announced = False
        self._window = frames.DEFAULT_WINDOW
        self._patience = float(PATIENCE)
        self._out: list[bytes] = []

    def request_is_late(self, stream: Stream) -> None:
        """Called for a request that is not complete in time."""
        self.reset(stream.id, ErrorCode.CANCEL)

    # uvloop's transports do not derive from asyncio's classes.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = True
        self._close_streams()

    def pause_writing(self) -> None:
        self._blocked_since = self.loop.time()
        if not self.ended:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked_since = 0.0
        if not self.ended:
            self.transport.resume_reading()

    def write(self, *parts: bytes) -> None:
        """Sends this with everything else of this iteration of the event loop."""
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out += parts

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self.transport.is_closing():
            self.transport.write(b"".join(out))

    def spend(self) -> None:
        """Charges the peer for a frame without a use. Raises Http2Error."""
        self._patience -= 1
        if self._patience < 0:
            self._patience += (self.heard - self._earned_at) * _EARNED_A_SECOND
            self._patience, self._earned_at = min(self._patience, PATIENCE), self.heard
            if self._patience < 0:
                raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM)

    # --- Streams

    def send(self, stream: Stream, before: bytes, data: bytes, last: bytes = b"") -> None:
        """Sends frames with headers, data as the windows allow, and the frame that ends the stream, if any."""
        if not stream.is_open:
            return
        stream.answered = True
        self.write(before)
        stream.pending = [data, last]
        self.send_pending(stream)

    def send_pending(self, stream: Stream) -> None:
        """Sends what the windows allow now."""
        if not stream.pending:
            return
        data, last = stream.pending
        while data:
            size = min(len(data), stream.window, self._window, frames.MAX_FRAME)
            if size <= 0:
                stream.pending[0] = data
                stream.blocked_since = stream.blocked_since or self.loop.time()
                return
            stream.window -= size
            self._window -= size
            stream.blocked_since = 0.0
            self.write(frame(frames.DATA, 0, stream.id, data[:size]))
            data = data[size:]
        stream.pending = []
        if last:
            self.finish(stream, last)
        elif stream.drained is not None and not stream.drained.done():
            stream.drained.set_result(None)

    def finish(self, stream: Stream, last: bytes) -> None:
        """Sends the last frame of a stream."""
        self.write(last)
        if stream.ended:
            self._patience = min(self._patience + _EARNED, PATIENCE)
        else:  # the rest of the request is not needed (RFC 9113, section 8.1)
            self.write(frame(frames.RST_STREAM, 0, stream.id, bytes(4)))
        self.close_stream(stream)

    def open_window(self, number: int, more: int) -> None:
        """The peer takes so much more: of one stream, or of all (0). Raises Http2Error."""
        if not number:
            self._window += more
            if self._window > frames.MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR)
            for each in list(self.streams.values()):
                self.send_pending(each)
        elif stream := self.streams.get(number):
            stream.window += more
            if stream.window > frames.MAX_WINDOW:
                self.spend()
                self.reset(number, ErrorCode.FLOW_CONTROL_ERROR)
            else:
                self.send_pending(stream)

    def reset(self, number: int, code: ErrorCode) -> None:
        """Sends RST_STREAM and closes the stream, if it is open."""
        self.write(frame(frames.RST_STREAM, 0, number, code.to_bytes(4, "big")))
        if stream := self.streams.get(number):
            self.close_stream(stream)

    def close_stream(self, stream: Stream) -> None:
        """Forgets a stream, and cancels its task unless that is what closes it."""
        self.streams.pop(stream.id, None)
        self._served = self.heard
        if stream.timer is not None:
            stream.timer.cancel()
        if stream.task is not None and not stream.task.done() and stream.task is not asyncio.current_task(self.loop):
            stream.task.cancel()
        if self.leaving and not self.streams and not self.ended:
            self._close()

    # --- The end

    def announce(self) -> None:
        """Asks the peer to open no more streams. Those that are on their way are served."""
        self._announced = True
        self._go_away(frames.MAX_ID, ErrorCode.NO_ERROR)

    def leave(self) -> None:
        """Closes the connection after its last stream."""
        if not self.leaving:
            self._go_away(self.last_id, ErrorCode.NO_ERROR)
            self.leave_after_streams()

    def leave_after_streams(self) -> None:
        """As `leave`, for a peer that leaves itself."""
        self.leaving = True
        if not self.streams and not self.ended:
            self._close()

    def end(self, code: ErrorCode) -> None:
        """Closes the connection at once."""
        if not self.ended:
            self._go_away(self.last_id, code)
            self._close()

    def _go_away(self, last_id: int, code: ErrorCode) -> None:
        self.write(frame(frames.GOAWAY, 0, 0, last_id.to_bytes(4, "big") + code.to_bytes(4, "big")))

    def _close(self) -> None:
        self.ended = True
        self._close_streams()
        self._flush()
        self._blocked_since = self._blocked_since or self.loop.time()  # until the peer has read everything
        self.transport.close()

    def _close_streams(self) -> None:
        for stream in list(self.streams.values()):
            self.close_stream(stream)

    def sweep(self, now: float) -> None:
        """Ends what has lasted too long. Called about once a second."""
        quiet, idle = now - self.heard, 0.0 if self.streams else now - self._served
        if (
            (self._blocked_since and now - self._blocked_since > _WRITE_SECONDS)
            or (not self.settled and idle > _BEGIN_SECONDS)
            or quiet > _QUIET_SECONDS + _PING_SECONDS
        ):
            self.transport.abort()
            return
        if quiet <= _QUIET_SECONDS:
            self._pinged = False
        elif not self._pinged:
            self._pinged = True
            self.write(frame(frames.PING, 0, 0, bytes(8)))
        if idle > _IDLE_SECONDS + _LEAVE_SECONDS:
            self.leave()
        elif idle > _IDLE_SECONDS and not self._announced:
            self.announce()
        for stream in list(self.streams.values()):
            if stream.blocked_since and now - stream.blocked_since > _WRITE_SECONDS:
                self.reset(stream.id, ErrorCode.CANCEL)
            elif not stream.ended and now - stream.opened > _BEGIN_SECONDS:
                self.request_is_late(stream)
