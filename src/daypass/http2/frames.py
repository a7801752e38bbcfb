"""The frames of HTTP/2, their numbers, forms and errors, and the header blocks in them, decoded within limits.

Sources: RFC 9113, sections 4, 6 and 7; RFC 7541 (HPACK).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

Fields = Iterable[tuple[bytes, bytes]]
T = TypeVar("T")

MAX_FRAME: Final = 16_384  # bytes, which every endpoint accepts
DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = (1 << 31) - 1
MAX_ID: Final = (1 << 31) - 1

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 2, 3, 4, 5, 6
HEAD: Final = struct.Struct(">BHBBI")
SETTING: Final = struct.Struct(">HI")

MAX_HEADERS: Final = 16_384  # bytes of a header block, encoded and decoded
_MAX_REMEMBERED: Final = 16


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Http2Error(Exception):
    """Ends the connection."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class MalformedRequest(Exception):  # as in RFC 9113, section 8.1.1
    """Ends the stream."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it goes over the wire."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, stream.to_bytes(4, "big"), payload)


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload without its padding. Raises Http2Error."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(ErrorCode.PROTOCOL_ERROR)
    return payload[1 : len(payload) - payload[0]]


def need_size(payload: bytes, size: int) -> None:
    """Raises Http2Error for a payload of another size."""
    if len(payload) != size:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR)


class _Table(HeaderTable):
    """A dynamic table that says whether it has changed."""

    changed = False

    def add(self, name: bytes, value: bytes) -> None:
        self.changed = True
        super().add(name, value)


class HeaderBlocks(Generic[T]):
    """The header blocks of a connection. `read`: makes something of their fields, or raises MalformedRequest.

    A proxy sends the same block again and again, so what was made of it is kept: a block that does not change the dynamic
    table says the same until another one changes it.
    """

    def __init__(self, read: Callable[[Fields], T]) -> None:
        self._read = read
        self._decoder = Decoder(MAX_HEADERS)
        self._table = self._decoder.header_table = _Table()
        self._known: dict[bytes, T] = {}

    def decode(self, block: bytes) -> T | None:
        """What a block says; None if it is malformed. Raises Http2Error."""
        found = self._known.get(block)
        if found is not None:
            return found
        self._table.changed = bool(block) and block[0] & 0xE0 == 0x20  # an update of its size
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM) from None
        except HPACKError:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR) from None
        if self._table.changed or len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        try:
            made = self._read(fields)
        except MalformedRequest:
            return None
        if not self._table.changed:
            self._known[block] = made
        return made
