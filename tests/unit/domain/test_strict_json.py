"""JSON of strangers: one reading, and no more work than its length is worth."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.cost import least_cpu_seconds

from daypass.domain.strict_json import MAX_DEPTH, MAX_VALUES, read_json, struct_reader


def test_read_json_twin_names_are_named() -> None:
    with pytest.raises(ValueError, match="'b' is given twice"):
        read_json('{"a":1,"b":2,"c":3,"b":2,"a":1}')


def test_a26_twin_behind_many_names_is_refused_without_work() -> None:
    text = "{" + "".join(f'"{number}":1,' for number in range(20_000)) + '"19999":1}'

    def refused() -> None:
        with pytest.raises(ValueError, match="given twice"):
            read_json(text)

    assert least_cpu_seconds(refused) < 2  # by comparing each with each it takes ten


def test_struct_reader_describes_the_struct_when_it_is_made() -> None:
    """Two threads that describe one at its first use crash the process."""

    class Incomplete(msgspec.Struct):
        member: NotDefined  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match="NotDefined"):
        struct_reader(Incomplete)


def test_struct_reader_text_with_a_duplicate_or_unknown_member_is_refused() -> None:
    class Pair(msgspec.Struct, forbid_unknown_fields=True):
        left: int

    read = struct_reader(Pair)
    assert read('{"left": 1}') == Pair(1)
    for text, reason in (('{"left": 1, "left": 2}', "given twice"), ('{"left": 1, "right": 2}', "right")):
        with pytest.raises(ValueError, match=reason):
            read(text)


@pytest.mark.parametrize("value", ["{}", "[]", "1", "1.5"])
def test_a238_text_of_more_values_than_the_limit_is_refused_before_it_is_parsed(value: str) -> None:
    with pytest.raises(ValueError, match="too many values"):
        read_json("[" + ",".join([value] * (MAX_VALUES + 1)) + "!")  # the end would not parse
    accepted = "[" + ",".join([value] * (MAX_VALUES // 2)) + "]"
    assert len(read_json(accepted)) == MAX_VALUES // 2


@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")])
def test_read_json_depth_is_that_of_the_values_not_the_number_of_brackets(pair: str | tuple[str, str]) -> None:
    start, end = pair
    read_json(start * MAX_DEPTH + "1" + end * MAX_DEPTH)
    read_json(json.dumps(["[{" * MAX_DEPTH, *[[]] * MAX_DEPTH]))  # many brackets, little depth
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(start * (MAX_DEPTH + 1) + "1" + end * (MAX_DEPTH + 1))
