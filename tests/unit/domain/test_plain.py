from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.plain import is_plain

TEXT = st.text() | st.text(alphabet='ab ,:[]{}"\\\n\x7f\x1fé')


@given(st.lists(TEXT, max_size=4))
def test_is_plain_says_yes_only_to_what_an_encoder_would_have_written(strings: list[str]) -> None:
    text = "[" + ",".join(f'"{s}"' for s in strings) + "]"
    plain = all(json.dumps(s, ensure_ascii=True) == f'"{s}"' for s in strings)
    assert is_plain(text, len(strings)) is plain
    assert not plain or text == json.dumps(strings, separators=(",", ":"))


@pytest.mark.parametrize("inside", ['x","y', '"', "\\", "\x00", "\n", "\x1f", "\x7f", "é", "\ud800", "\u2028"])
def test_is_plain_of_a_string_that_leaves_its_quotes_is_false(inside: str) -> None:
    assert is_plain('{"a":"b"}', 2)
    assert not is_plain(f'{{"a":"{inside}"}}', 2)
