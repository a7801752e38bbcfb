"""Servers of grpclib with the limits that it has no setting for: of messages, and of the connections of a peer.

The agent and the server share it. It must never wait for a message without a limit of its size.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast

from grpclib.protocol import H2Protocol
from grpclib.server import Server

MAX_BYTES = 65_536
_HEAD = 5
_TIMEOUT = re.compile("([0-9]{1,8})([HMSmun])")
_NANOSECONDS = {"H": 3_600 * 10**9, "M": 60 * 10**9, "S": 10**9, "m": 10**6, "u": 10**3, "n": 1}
_LEAST = 10**7


async def received(stream: Any) -> bytes:
    """The message of a stream of grpclib; b"" without one. Raises ValueError before it reads one that is compressed or
    larger than the limit, and for one that is cut short.
    """
    read = stream._stream.recv_data  # noqa: SLF001  # its own function has no limit
    try:
        head = await read(_HEAD)
        if not head:
            return b""
        length = int.from_bytes(head[1:], "big")
        if head[0] or length > MAX_BYTES:
            raise ValueError("the message is too large")
        return bytes(await read(length))
    except AssertionError:  # as grpclib says it
        raise ValueError("the message is cut short") from None


def socket_of(stream: Any) -> socket.socket:
    """The socket of a stream."""
    found: socket.socket = stream.peer._transport.get_extra_info("socket")  # noqa: SLF001  # it shows the address alone
    return found


class Bytes:
    """The codec for messages that `daypass.protobuf` reads and writes."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, _: object) -> bytes:
        return message

    def decode(self, data: bytes, _: object) -> bytes:
        return data


def _in_time(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a call with a timeout that grpclib can keep: it fails, with a traceback, if none is left at the
    start. A text in another form than gRPC's is replaced by one that grpclib refuses.
    """
    return [(name, _timeout(value) if name == "grpc-timeout" else value) for name, value in headers]


def _timeout(value: str) -> str:
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        return "invalid"
    return value if int(found[1]) * _NANOSECONDS[found[2]] >= _LEAST else "10m"


class LimitedServer(Server):
    """Serves one API. A peer has at most `most` connections: idle ones cost descriptors, which the whole process shares.

    `peer_of`: what names the peer of a connection.
    """

    def __init__(self, api: Any, most: int, peer_of: Callable[[socket.socket], object]) -> None:
        super().__init__([api], codec=cast(Any, Bytes()))  # as its base class, which has no behavior
        self._limits = most, peer_of
        self._open: Counter[object] = Counter()

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        limited = _Limited(made.handler, made.config, made.h2_config)
        limited.limits, limited.open = self._limits, self._open
        handler: Any = made.handler
        accept = handler.accept
        handler.accept = lambda stream, headers, release: accept(stream, _in_time(headers), release)
        return limited


class _Limited(H2Protocol):
    limits: tuple[int, Callable[[socket.socket], object]]
    open: Counter[object]
    peer: object

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        most, peer_of = self.limits
        self.peer = peer_of(transport.get_extra_info("socket"))
        self.open[self.peer] += 1
        if self.open[self.peer] > most:
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.open[self.peer] -= 1
        super().connection_lost(exc)
