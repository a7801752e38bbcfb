"""What is written is what Google's library reads, and what it reads of any bytes ends in a ValueError at worst."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from daypass.protobuf import contents, fields, message, struct_of, texts

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_json_is_read_by_googles_library(value: dict[str, Any]) -> None:
    assert MessageToDict(Struct.FromString(struct_of(value))) == value


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=300) | st.integers(0, 2**64 - 1)), max_size=8))
def test_fields_are_read_as_they_were_written(pairs: list[tuple[int, Any]]) -> None:
    assert [*fields(message(*pairs))] == pairs


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (lambda: [*fields(data)], lambda: contents(data, 1), lambda: texts(data, 1)):
        try:
            read()
        except ValueError:
            continue


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x02x", b"\x0b\x0c", b"\xff" * 11, b"\x08" + b"\x80" * 10, b"\x09\x00", b"\x0d\0"]
)
def test_message_that_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|unknown kind"):
        [*fields(data)]
