"""SCIM: the attributes that a directory may send, and patches, which never take long in their transaction."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.cost import costs_less_than

from daypass.domain.scim import ScimError, user_name, user_of
from daypass.domain.scim_patch import PATCH_SCHEMA, apply_patch

LONG_FILTER = " and ".join([*['type eq "User"'] * 7, 'type eq "x"'])


def patched(resource: dict[str, Any], *operations: Any, schemas: Any = (PATCH_SCHEMA,)) -> dict[str, Any]:
    listed = list(schemas) if isinstance(schemas, tuple) else schemas
    return apply_patch(resource, {"schemas": listed, "Operations": list(operations)})


def members(count: int, prefix: str = "AIDA") -> list[dict[str, str]]:
    return [{"value": f"{prefix}{number:017}"} for number in range(count)]


@pytest.mark.parametrize("schemas", [5, True, 1.5, {}, None, [], ["urn:other"]])
def test_apply_patch_without_its_schema_is_refused(schemas: Any) -> None:
    with pytest.raises(ScimError) as refused:
        patched({}, {"op": "add", "path": "active", "value": True}, schemas=schemas)
    assert refused.value.kind == "invalidSyntax"


def test_apply_patch_of_an_element_with_an_odd_list_does_not_fail() -> None:
    element = {"op": "add", "path": 'emails[type eq "x"]', "value": {"members": 5}}
    again = {"op": "add", "path": 'emails[type eq "x"].members', "value": 1}
    assert patched({}, element, again) == {"emails": [{"type": "x", "members": [5, 1]}]}


def test_apply_patch_add_ignores_known_elements_and_remove_removes_by_value() -> None:
    group = {"members": [{"value": "a", "display": "A"}, {"value": "b"}]}
    added = patched(group, {"op": "add", "path": "members", "value": [{"value": "b"}, {"value": "c"}, {"value": "c"}]})
    assert [each["value"] for each in added["members"]] == ["a", "b", "c"]
    left = patched(added, {"op": "remove", "path": "members", "value": [{"value": "a"}, {"value": "c"}]})
    assert left["members"] == [{"value": "b"}]
    assert patched(group, {"op": "remove", "path": 'members[value eq "a"]'})["members"] == [{"value": "b"}]


def test_a240_patch_of_ten_thousand_members_is_linear() -> None:
    known, others = members(10_000), members(10_000, "AIDB")

    def work() -> None:
        added = patched({"members": known}, {"op": "add", "path": "members", "value": others})
        assert len(added["members"]) == 20_000
        assert patched(added, {"op": "remove", "path": "members", "value": others})["members"] == known

    assert costs_less_than(1, work)  # 2.7 when each element is compared with each


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "add", "value": {f"a{number}": 1 for number in range(30_000)}}],
        [{"op": "add", "value": {f"urn:{number}:members": {"value": "x"} for number in range(10_000)}}],
        [
            {"op": "add", "path": 'emails[type eq "x"]', "value": {f"a{number}": 1 for number in range(15_000)}},
            {"op": "add", "value": {f'emails[type eq "x"].a{number}': 1 for number in range(15_000)}},
        ],
        [{"op": "remove", "path": f'members[value eq "{number}"]'} for number in range(100)],
        [{"op": "remove", "path": f"members[{LONG_FILTER}]"}] * 100,
    ],
    ids=["attributes", "schemas", "sub-attributes", "filters", "terms"],
)
def test_a240_patch_with_more_work_than_the_limit_is_refused(operations: list[Any]) -> None:
    group = {"members": [{**each, "type": "User"} for each in members(10_000)]}

    def work() -> None:
        with pytest.raises(ScimError) as refused:
            patched(group, *operations)
        assert refused.value.kind == "tooMany"

    assert costs_less_than(3, work)  # 30 and more without a limit


@pytest.mark.parametrize("value", [[0] * 12_000, "s" * 500_000], ids=["list", "text"])
def test_a350_patch_that_puts_a_large_value_into_many_elements_is_refused_soon(value: Any) -> None:
    """The elements share the value, so the patch is small; looking at each of them took 38 s, or gigabytes."""
    group = {"members": [{"value": str(number), "type": "a"} for number in range(8_000)]}
    operations = [
        {"op": "add", "path": 'members[type eq "a"].x', "value": value},
        {"op": "add", "path": "members", "value": [{"value": "b"}]},
    ]

    def work() -> None:
        with pytest.raises(ScimError) as refused:
            patched(group, *operations)
        assert refused.value.kind == "tooMany"

    assert costs_less_than(1, work)


def test_apply_patch_of_the_largest_group_may_have_some_operations() -> None:
    operations = [{"op": "remove", "path": f'members[value eq "AIDA{number:017}"]'} for number in range(20)]
    assert len(patched({"members": members(10_000)}, *operations)["members"]) == 9_980


# --- The attributes of a user that a directory may send


@pytest.mark.parametrize("name", ["ann", "Ann.Lee+x=1,2@a.example-b_c", "a" * 64])
def test_user_of_a_name_of_iam_is_kept_and_active(name: str) -> None:
    assert user_of({"userName": name}) == {"userName": name, "active": True}


@pytest.mark.parametrize("name", ["a" * 65, "ann lee", "änne", "a/b", "\u0410dmin", "山田太郎", "ß" * 256])
def test_user_of_another_name_has_a_name_of_iam_that_is_derived_and_stable(name: str) -> None:
    derived = user_name(name)
    assert re.fullmatch(r"[a-z0-9+=,.@_-]{1,40}-[0-9a-f]{20}", derived)
    assert derived == user_name(name.upper()) == user_name(f" {name}")
    assert user_of({"userName": name})["userName"] == name


def test_user_name_in_another_form_of_a_character_is_that_name() -> None:
    assert user_name("ａdmin") == user_name("admin ") == "admin", "it is refused as taken where there is an admin"


@pytest.mark.parametrize("name", ["", "a" * 257, "ad\u202emin"])
def test_user_of_an_unusable_name_is_refused(name: str) -> None:
    with pytest.raises(ScimError):
        user_of({"userName": name})
