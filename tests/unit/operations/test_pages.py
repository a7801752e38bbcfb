"""Pages that end early: as many items as fit, and at least one (attack A235)."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.operations import pages
from daypass.operations.record.pages import size_of
from daypass.ports import RecordView


@pytest.mark.parametrize(
    ("sizes", "shown"), [([], 0), ([11], 1), ([11, 1], 1), ([5, 5], 2), ([5, 5, 1], 2), ([0, 0, 11], 2)]
)
def test_fitting_takes_what_fits_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], shown: int
) -> None:
    monkeypatch.setattr(pages, "MAX_BYTES", 10)
    assert pages.fitting(sizes, lambda size: size) == sizes[:shown]


@pytest.mark.parametrize(
    ("seen", "size"),
    [
        ({"body": {"a": 1}, "bytes": b"12345"}, 5),
        ({"body": {"a": 1}, "bytes": None}, 7),
        ({"body": None, "bytes": None}, 0),
    ],
)
def test_size_of_a_record_is_that_of_what_the_viewer_may_see(seen: dict[str, Any], size: int) -> None:
    assert size_of(RecordView("log", 1, 0, "leaf", "chain", **seen)) == size
