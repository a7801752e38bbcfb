"""Forms: both ways to parse them find what the standard library finds, except that they refuse bad escapes."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daypass.domain.errors import DaypassError
from daypass.wire.content import pairs_of

_PARTS = st.sampled_from(
    ["a", "b", "=", "&", "%3A", "%2F", "%3a", "%25", "%26", "%3D", "%", "+", ":", "/", ";", "%C3", "\r", "%0A"]
)


def expected(text: str, most: int, *, strict: bool) -> list[tuple[str, str]] | None:
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        return None
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=strict and bool(text), max_num_fields=most, errors="strict"
        )
    except ValueError:
        return None


@pytest.mark.parametrize("strict", [True, False])
@example(parts=["a", "=", "%", "\r"])
@example(parts=["a", "=", "%", "\n"])
@given(parts=st.lists(_PARTS, max_size=16))
def test_pairs_of_any_form_are_those_of_the_standard_library(strict: bool, parts: list[str]) -> None:
    text = "".join(parts)
    try:
        found: list[tuple[str, str]] | None = pairs_of(text.encode(), 3, strict=strict)
    except DaypassError:
        found = None
    assert found == expected(text, 3, strict=strict)
