from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.audit.format import CHUNK_RECORDS, Unpacker, pack, unpack

EVENT = (
    b'{"account":"111122223333","at":1700000000000,"operation":"sts:GetCallerIdentity","type":"request.allowed","v":1}'
)


@given(
    st.lists(st.text(alphabet="ab", min_size=1, max_size=9).map(lambda t: b'{"' + t.encode() + b'":1}'), max_size=200)
)
def test_unpack_of_pack_gives_every_event_back(events: list[bytes]) -> None:
    stored = pack(events)
    assert len(stored) == len(events)
    unpacker = Unpacker()
    assert [unpacker.data(seq, row) for seq, row in enumerate(stored)] == events
    assert sum(1 for row in stored if row) == -(-len(events) // CHUNK_RECORDS)


def test_pack_large_events_are_chunks_of_their_own() -> None:
    large = [b'{"' + b"x" * 100_000 + b'":1}'] * 3
    assert all(pack(large))
    assert [unpack(row) for row in pack(large)] == [[event] for event in large]


def test_pack_of_alike_events_is_a_small_part_of_them() -> None:
    assert sum(map(len, pack([EVENT] * 50))) < 50 * len(EVENT) / 10
    assert len(pack([EVENT])[0]) < len(EVENT) / 2


def test_unpack_of_bytes_without_a_version_is_nothing() -> None:
    assert unpack(EVENT) == unpack(b"") == []


def bomb() -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"\x01" + deflater.compress(bytes(50_000_000)) + deflater.flush()


@pytest.mark.parametrize(
    "damaged",
    [lambda: pack([EVENT])[0][:-3], lambda: b"\x01", lambda: b"\x01junk", bomb],
    ids=["cut", "empty", "junk", "bomb"],
)
def test_unpack_what_was_damaged_is_nothing(damaged: Callable[[], bytes]) -> None:
    assert unpack(damaged()) == []


def test_unpacker_without_the_first_record_of_a_chunk_has_nothing() -> None:
    unpacker = Unpacker()
    assert unpacker.data(5, b"") == b""
    assert unpacker.data(6, pack([EVENT])[0]) == EVENT
    assert unpacker.data(7, b"") == b""
