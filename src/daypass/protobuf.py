"""The wire form of Protocol Buffers, as far as the few messages need it that the agent and the server exchange over gRPC.

Fields are numbers, texts, bytes and messages. Groups and packed fields do not exist here.
Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}  # bytes
_MAX_VARINT = 10  # bytes


def message(*fields: tuple[int, str | bytes | int | float]) -> bytes:
    """A message of fields: number and value. An empty text or 0 is written, too: an element of a list may be one."""
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: str | bytes | float) -> bytes:
    match value:
        case int():
            return _varint(number << 3 | _VARINT) + _varint(value)
        case float():
            return _varint(number << 3 | _FIXED64) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message: number and content. Raises ValueError."""
    at, end = 0, len(data)
    while at < end:
        key, at = (data[at], at + 1) if data[at] < 0x80 else _read_varint(data, at)  # most are short
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = (data[at], at + 1) if at < end and data[at] < 0x80 else _read_varint(data, at)
        else:
            length = _FIXED.get(kind, -1)
            if length < 0:
                raise ValueError("a field of an unknown kind")
        stop = at + length
        if stop > end:
            raise ValueError("a field is cut short")
        yield key >> 3, data[at:stop]
        at = stop


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT):
        if at + shift >= len(data):
            break
        byte = data[at + shift]
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise ValueError("a number is cut short")


def texts(data: bytes, number: int) -> list[str]:
    """Every text of this number. Raises ValueError."""
    return [each.decode() for each in contents(data, number)]


def contents(data: bytes, number: int) -> list[bytes]:
    """Every message, or bytes, of this number. Raises ValueError."""
    return grouped(data)[number]


def grouped(data: bytes) -> defaultdict[int, list[bytes]]:
    """Every message, text or bytes, by number. Raises ValueError."""
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for number, value in fields(data):
        if isinstance(value, bytes):
            found[number].append(value)
    return found


def struct_of(value: Mapping[str, Any]) -> bytes:
    """A google.protobuf.Struct of JSON."""
    return message(*((1, message((1, name), (2, _value_of(member)))) for name, member in value.items()))


def _value_of(value: Any) -> bytes:
    if isinstance(value, bool):
        return message((4, int(value)))
    if isinstance(value, int | float):
        return message((2, float(value)))
    if isinstance(value, str):
        return message((3, value))
    if isinstance(value, Mapping):
        return message((5, struct_of(value)))
    if isinstance(value, list):
        return message((6, message(*((1, _value_of(each)) for each in value))))
    return message((1, 0))
