"""JSON of strangers: one reading, and no more work than its length is worth."""

from __future__ import annotations

import pytest
from tests.cost import least_cpu_seconds

from daypass.domain.strict_json import read_json


def test_read_json_twin_names_are_named() -> None:
    with pytest.raises(ValueError, match="'b' is given twice"):
        read_json('{"a":1,"b":2,"c":3,"b":2,"a":1}')


def test_a26_twin_behind_many_names_is_refused_without_work() -> None:
    text = "{" + "".join(f'"{number}":1,' for number in range(20_000)) + '"19999":1}'

    def refused() -> None:
        with pytest.raises(ValueError, match="given twice"):
            read_json(text)

    assert least_cpu_seconds(refused) < 2  # by comparing each with each it takes ten
