"""A client of gRPC that says what it wants, frame by frame, to a connection without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from hpack import Decoder, Encoder

from daypass.grpc_server import GrpcCall, GrpcServer
from daypass.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
)

OPENING = PREFACE + frame(SETTINGS, 0, 0)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append(Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        assert len(found[-1].payload) == size
        data = data[9 + size :]
    return found


class Wire(asyncio.Transport):
    """The transport of the server's end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = self.aborted = False
        self.reads = True

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Peer:
    """A client with its connection to a server."""

    def __init__(self, server: GrpcServer, opening: bytes = OPENING) -> None:
        self.server, self.wire = server, Wire()
        self.connection = server.connection()
        self.connection.connection_made(self.wire)
        self.encoder, self.decoder = Encoder(), Decoder()
        if opening:
            self.connection.data_received(opening)

    async def frames(self, *sent: bytes) -> list[Frame]:
        """What the server sends by the time that nothing happens any more."""
        for each in sent:
            self.connection.data_received(each)
        for _ in range(30):
            await asyncio.sleep(0)
        data, self.wire.written = bytes(self.wire.written), bytearray()
        return frames(data)

    async def refused(self, *sent: bytes) -> tuple[int, ErrorCode | None]:
        """The stream (0: the connection) and the error that the server answers first; None without one."""
        for each in await self.frames(*sent):
            if each.kind == GOAWAY:
                assert self.wire.closed
                return 0, ErrorCode(int.from_bytes(each.payload[4:8], "big"))
            if each.kind == RST_STREAM:
                return each.stream, ErrorCode(int.from_bytes(each.payload, "big"))
        return 0, None

    def head(self, path: str = "/test/Echo", **more: str) -> bytes:
        """The header block of a call."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
        fields |= {
            "content-type": "application/grpc",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        return self.encoder.encode(list(fields.items()))

    def call(self, number: int, message: bytes = b"hello", **more: str) -> bytes:
        """The frames of a call."""
        head = frame(HEADERS, END_HEADERS, number, self.head(**more))
        return head + frame(DATA, END_STREAM, number, prefixed(message))

    def answers(self, sent: list[Frame]) -> dict[int, tuple[dict[str, str], bytes]]:
        """The fields and data of each stream."""
        found: dict[int, tuple[dict[str, str], bytes]] = {}
        for each in sent:
            fields, data = found.get(each.stream, ({}, b""))
            if each.kind == HEADERS:
                decoded = self.decoder.decode(each.payload)
                found[each.stream] = {**fields, **{str(name): str(value) for name, value in decoded}}, data
            elif each.kind == DATA:
                found[each.stream] = fields, data + each.payload
        return found

    async def status(self, *sent: bytes) -> dict[int, str]:
        """The status of each call that is answered."""
        return {n: fields["grpc-status"] for n, (fields, _) in self.answers(await self.frames(*sent)).items() if n}


def prefixed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def update(number: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, number, more.to_bytes(4, "big"))


async def echo(call: GrpcCall) -> bytes:
    return call.message


async def never(call: GrpcCall) -> bytes:
    await asyncio.Event().wait()
    return call.message


async def large(_: GrpcCall) -> bytes:
    return bytes(range(256)) * 400


UNARY: Mapping[str, Callable[[GrpcCall], Awaitable[bytes]]] = {
    "/test/Echo": echo,
    "/test/Never": never,
    "/test/Large": large,
}


def server(**settings: Any) -> GrpcServer:
    return GrpcServer(UNARY, **{"connections": 8, **settings})
