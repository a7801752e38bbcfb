"""The cache of parsed and validated lists."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.errors import DaypassError
from daypass.wire.aws import members, models, query
from daypass.wire.aws.members import CheckedList, MemberCache
from daypass.wire.aws.query import parse_form

OPERATION = models.load("sts").operation("AssumeRole")
assert OPERATION is not None
NAME = st.text("abAB:é", min_size=0, max_size=3) | st.just("x" * 129)
LISTS = st.lists(st.tuples(NAME, NAME), max_size=4)


def form(tags: list[tuple[str, str]], **more: str) -> dict[str, str]:
    named = {
        f"Tags.member.{n}.{part}": text
        for n, pair in enumerate(tags, 1)
        for part, text in zip(("Key", "Value"), pair, strict=True)
    }
    return parse_form(
        b"",
        urlencode({"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "s1", **named, **more}).encode(),
    )


def plain(params: Any) -> Any:
    """Lists and dictionaries, whoever made them."""
    if isinstance(params, str):
        return params
    if hasattr(params, "items"):
        return {name: plain(value) for name, value in params.items()}
    return [plain(item) for item in params] if isinstance(params, (list, tuple)) else params


@given(LISTS)
def test_parse_and_check_with_the_cache_answer_as_without(tags: list[tuple[str, str]]) -> None:
    model = models.load("sts")
    uncached = query.compile_input(model._shapes, model._operations["AssumeRole"])
    for _ in range(2):
        params, expected = OPERATION.parse(form(tags)), uncached(form(tags))
        assert plain(params) == expected
        assert bool(OPERATION.check(params)) is bool(OPERATION.check(expected))
        if not OPERATION.check(params):
            assert OPERATION.explain(params) == OPERATION.explain(expected)
        assert OPERATION.redact(params) == OPERATION.redact(expected)


def test_parse_of_the_same_text_gives_the_same_list_which_cannot_be_changed() -> None:
    _, first, second = (OPERATION.parse(form([("team", "web")], RoleSessionName=name)) for name in ("a1", "b1", "c1"))
    assert first["Tags"] is second["Tags"]
    assert type(first["Tags"]) is CheckedList
    with pytest.raises(TypeError):
        first["Tags"][0]["Key"] = "other"
    assert first["RoleSessionName"] != second["RoleSessionName"]


def test_parse_of_another_order_of_names_is_another_list() -> None:
    one = OPERATION.parse(
        {"Tags.member.1.Key": "a", "Tags.member.1.Value": "1", "Tags.member.2.Key": "b", "Tags.member.2.Value": "2"}
    )
    two = OPERATION.parse(
        {"Tags.member.2.Key": "a", "Tags.member.2.Value": "1", "Tags.member.1.Key": "b", "Tags.member.1.Value": "2"}
    )
    assert [tag["Key"] for tag in one["Tags"]] == ["a", "b"]
    assert [tag["Key"] for tag in two["Tags"]] == ["b", "a"]


def cache(checks: dict[str, Any]) -> tuple[MemberCache, list[Any]]:
    reads: list[Any] = []

    def read(dotted: Any) -> dict[str, Any]:
        reads.append(dict(dotted))
        return {name.partition(".")[0]: [text] for name, text in dotted.items()}

    return MemberCache(read, checks), reads


@pytest.mark.parametrize(
    "dotted",
    [
        {"Tags.member.1": "invalid"},
        {"ProvidedContexts.member.1.ContextAssertion": "secret"},
        {"Tags.member.1": "x", "ProvidedContexts.member.1.ContextAssertion": "secret"},
        {"Tags.member.1": "x" * members.MAX_LIST_CHARACTERS},
    ],
)
def test_cache_of_what_is_invalid_secret_or_long_keeps_nothing(dotted: dict[str, str]) -> None:
    cached, reads = cache({"Tags": lambda items: items != ["invalid"]})
    for _ in range(3):
        assert type(cached(dotted).get("Tags")) is not CheckedList
    assert len(reads) == 3
    assert len(cached) == 0


def test_cache_is_bounded() -> None:
    cached, reads = cache({"Tags": lambda _: True})
    for number in range(members.MAX_LISTS * 2 + 5):
        assert cached({"Tags.member.1": str(number)})["Tags"] == [str(number)]
        assert cached({"Tags.member.1": str(number)})["Tags"] == (str(number),)
    assert 0 < len(cached) <= members.MAX_LISTS
    before = len(reads)
    assert cached({"Tags.member.1": str(members.MAX_LISTS * 2 + 4)})["Tags"] == (str(members.MAX_LISTS * 2 + 4),)
    assert len(reads) == before


def test_cache_of_a_list_that_comes_once_keeps_its_hash_alone() -> None:
    cached, reads = cache({"Tags": lambda _: True})
    for number in range(members._MAX_SEEN + 5):
        cached({"Tags.member.1": str(number)})
    assert len(cached) == 0
    assert 0 < len(cached._seen) <= members._MAX_SEEN
    assert len(reads) == members._MAX_SEEN + 5


def test_parse_of_a_value_and_a_list_of_one_name_is_refused_also_after_the_list_was_cached() -> None:
    OPERATION.parse(form([("team", "web")]))
    with pytest.raises(DaypassError, match="both a value and a list"):
        OPERATION.parse(form([("team", "web")], Tags=""))
