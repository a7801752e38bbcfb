"""Forms, layouts and user agents."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daypass.domain.errors import DaypassError
from daypass.wire.aws import members as layouts
from daypass.wire.aws import models, query
from daypass.wire.aws.members import MAX_LAYOUTS, MAX_NAMES, Layouts
from daypass.wire.content import pairs_of
from daypass.wire.web.render import user_agent_name

MODEL = models.load("sts")
MEMBERS = MODEL._shapes["AssumeRoleRequest"]["members"]
NESTED = frozenset({"PolicyArns", "Tags", "TransitiveTagKeys", "ProvidedContexts"})
READERS = {name: query._compile(MODEL._shapes, MEMBERS[name]["shape"], {}) for name in NESTED}
PART = st.sampled_from(["member", "1", "2", "10", "0", "01", "x", "", "Key", "Value", "arn", "entry"])
NAME = st.builds(
    lambda root, parts: ".".join((root, *parts)),
    st.sampled_from([*NESTED, "Other"]),
    st.lists(PART, min_size=1, max_size=4),
)
TEXT = st.sampled_from(["", "a", "b"])


def read(dotted: Any) -> dict[str, Any]:
    return query._read_nested(NESTED, READERS, dotted)


def answer(parse: Any, dotted: dict[str, str]) -> Any:
    try:
        return parse(dotted)
    except DaypassError as error:
        return error.kind, error.public


@given(st.dictionaries(NAME, TEXT, max_size=5), st.lists(TEXT, min_size=5, max_size=5))
@example({"Tags.member.1": "a"}, [""] * 5)
@example({"Tags.member": "a"}, [""] * 5)
@example({"Tags.member.2.Key": "a", "Tags.member.1.Key": "b"}, ["x"] * 5)
@example({"TransitiveTagKeys.member.2": "a", "TransitiveTagKeys.member.1": "b"}, [""] * 5)
@example({"Tags.member.1.Key": "a", "Tags.member.1.Key.x": "b"}, [""] * 5)
def test_layouts_of_any_names_and_other_values_give_what_parsing_gives(
    dotted: dict[str, str], other: list[str]
) -> None:
    parse = Layouts(read, NESTED)
    again = dict(zip(dotted, other, strict=False))
    for form in (dotted, dotted, again):
        assert answer(parse, form) == answer(read, form)


def test_layouts_of_tags_parse_the_names_once() -> None:
    parsed: list[Any] = []

    def counted(dotted: Any) -> dict[str, Any]:
        parsed.append(dotted)
        return read(dotted)

    parse = Layouts(counted, NESTED)
    for value in ("a", "b", "c"):
        tags = [{"Key": "team", "Value": value}, {"Key": value, "Value": ""}]
        form = {f"Tags.member.{n}.{part}": text for n, tag in enumerate(tags, 1) for part, text in tag.items()}
        assert parse({**form, "TransitiveTagKeys.member.1": value}) == {"Tags": tags, "TransitiveTagKeys": [value]}
    assert len(parsed) == 2  # the first time: the names, and the form
    assert len(parse) == 1


@pytest.mark.parametrize("names", [["Tags.member"], ["Tags.member.1"], ["ProvidedContexts.member.x"]])
def test_layouts_of_names_that_do_not_decide_alone_are_not_kept(names: list[str]) -> None:
    parse = Layouts(read, NESTED)
    answer(parse, dict.fromkeys(names, ""))
    assert len(parse) == 0


def test_layouts_of_other_members_are_not_kept() -> None:
    parse = Layouts(read, NESTED - {"Tags"})
    assert parse({"Tags.member.1.Key": "a"}) == {"Tags": [{"Key": "a"}]}
    assert len(parse) == 0


def test_layouts_are_bounded() -> None:
    parse = Layouts(read, NESTED)
    for number in range(MAX_LAYOUTS + 2):
        parse({f"TransitiveTagKeys.member.{number + 1}": "a"})
    assert 0 < len(parse) <= MAX_LAYOUTS
    many = Layouts(read, NESTED)
    many({f"TransitiveTagKeys.member.{n}": "a" for n in range(1, MAX_NAMES + 2)})
    assert len(many) == 0


def test_lists_of_texts_are_those_of_texts_and_of_structures_of_texts() -> None:
    shapes = MODEL._shapes
    found = {name for name, member in MEMBERS.items() if query._is_list_of_texts(shapes, shapes[member["shape"]])}
    assert found == NESTED
    assert layouts.MAX_NAMES >= 100  # a session has up to 50 tags


def test_a114_layouts_do_not_keep_long_names_of_strangers() -> None:
    parse = Layouts(read, NESTED)
    for number in range(3):
        assert answer(parse, {f"Other.{number}{'x' * layouts.MAX_CHARACTERS}": "a"}) == {}
    assert not len(parse)
    parse({f"Tags.member.{number}.{part}": "a" for number in range(1, 51) for part in ("Key", "Value")})
    assert len(parse) == 1


# --- Forms: both ways to parse them find what the standard library finds, except that they refuse bad escapes


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


# --- User agents in words


WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox 128 on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/131.0.0.0 Safari/537.36", "Chrome 131 on Windows"),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86",
            "Edge 131 on Windows",
        ),
        (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/131.0.0.0 Mobile Safari/537.36", "Chrome 131 on Android"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/131.0.0.0 Safari/537.36", "Chrome 131 on Linux"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
            "Safari 18 on macOS",
        ),
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
                "Version/18.1 Mobile/15E148 Safari/604.1"
            ),
            "Safari 18 on iOS",
        ),
        ("aws-cli/2.22.4 md/awscrt#0.22.0 ua/2.0 os/linux#6.8", "aws-cli 2.22.4"),
        ("Boto3/1.35.71 md/Botocore#1.35.71 ua/2.0 os/linux#6.8", "Boto3 1.35.71"),
        ("Mozilla/5.0", "Mozilla/5.0"),
        ("ours", "ours"),
        ("", ""),
    ],
)
def test_user_agent_name_of_common_clients_is_product_and_system(text: str, name: str) -> None:
    assert user_agent_name(text) == name


def test_user_agent_name_of_a_long_text_is_bounded() -> None:
    assert len(user_agent_name("x" * 10_000)) == 512
