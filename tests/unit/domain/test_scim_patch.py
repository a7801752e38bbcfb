"""Patches of SCIM resources: odd operations are refused, and no patch takes long in the transaction that applies it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cost import least_cpu_seconds

from daypass.domain.scim import ScimError
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

    assert least_cpu_seconds(work) < 1  # 2.7 when each element is compared with each


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

    assert least_cpu_seconds(work) < 3  # 30 and more without a limit


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

    assert least_cpu_seconds(work) < 1


def test_apply_patch_of_the_largest_group_may_have_some_operations() -> None:
    operations = [{"op": "remove", "path": f'members[value eq "AIDA{number:017}"]'} for number in range(20)]
    assert len(patched({"members": members(10_000)}, *operations)["members"]) == 9_980
