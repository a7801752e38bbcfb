"""Decoding of header blocks, within limits.

Source: RFC 7541 (HPACK).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from daypass.http2.frames import ErrorCode, Http2Error, MalformedRequest

Fields = Iterable[tuple[bytes, bytes]]
T = TypeVar("T")

MAX_HEADERS: Final = 16_384  # bytes of a header block, encoded and decoded
_MAX_REMEMBERED: Final = 16


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
