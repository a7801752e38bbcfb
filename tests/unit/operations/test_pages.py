"""Pages that end early: as many items as fit, and at least one (attack A235)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daypass.operations import management
from daypass.operations.record.explore import fitting, size_of
from daypass.ports import RecordView


@pytest.mark.parametrize(
    ("sizes", "shown"), [([], 0), ([11], 1), ([11, 1], 1), ([5, 5], 2), ([5, 5, 1], 2), ([0, 0, 11], 2)]
)
def test_fitting_takes_what_fits_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], shown: int
) -> None:
    monkeypatch.setattr(management, "MAX_BYTES", 10)
    assert management.fitting(sizes, lambda size: size) == sizes[:shown]


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


@pytest.mark.parametrize(
    ("sizes", "limit", "shown", "more", "read"),
    [
        ([[4, 4], [4, 4], [4]], 9, 2, True, 2),  # the third does not fit: the last page is not read
        ([[1, 1], [1, 1], [1]], 4, 4, True, 2),
        ([[1, 1], [1, 1], [1]], 3, 3, True, 2),
        ([[1, 1], [1]], 4, 3, False, 2),
        ([[99, 1], [1]], 4, 1, True, 1),
        ([[]], 4, 0, False, 1),
    ],
)
async def test_a312_answer_reads_no_pages_of_the_record_behind_those_that_it_shows(
    monkeypatch: pytest.MonkeyPatch, sizes: list[list[int]], limit: int, shown: int, more: bool, read: int
) -> None:
    monkeypatch.setattr(management, "MAX_BYTES", 10)
    read_pages = 0

    async def steps() -> AsyncIterator[list[RecordView]]:
        nonlocal read_pages
        for page in sizes:
            read_pages += 1
            yield [RecordView("log", 1, 0, "leaf", "chain", body={}, bytes=b"x" * size) for size in page]

    found, goes_on = await fitting(steps(), limit)
    assert (len(found), goes_on, read_pages) == (shown, more, read)
