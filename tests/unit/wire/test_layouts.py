"""The layouts of flat names: they give what parsing gives, and only names decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daypass.domain.errors import DaypassError
from daypass.wire.aws import members as layouts
from daypass.wire.aws import models, query
from daypass.wire.aws.members import MAX_LAYOUTS, MAX_NAMES, Layouts

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
