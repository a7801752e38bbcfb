"""Messages of gRPC as grpclib receives them, with what it has no function for: a limit of their size, and the peer's socket.

The agent and the server share it. It must never wait for a message without a limit.
"""

from __future__ import annotations

import socket
from typing import Any

MAX_BYTES = 65_536
_HEAD = 5


class TooLarge(Exception):
    """The message is compressed, or larger than the limit."""


async def received(stream: Any) -> bytes:
    """The message of a stream of grpclib; b"" without one. Raises TooLarge before it is read."""
    head = await stream._stream.recv_data(_HEAD)  # noqa: SLF001  # its own function has no limit
    if len(head) < _HEAD:
        return b""
    length = int.from_bytes(head[1:], "big")
    if head[0] or length > MAX_BYTES:
        raise TooLarge
    return bytes(await stream._stream.recv_data(length))  # noqa: SLF001  # grpclib has no other way to read raw bytes


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
