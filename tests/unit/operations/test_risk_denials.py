"""Refusals in the risk of a request: those of pages count a little."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.operations.access_requests import prepare

PAGE = {"operation": "iam:ListRoles", "actor": {"session_id": "s"}}
BY_KEY = {"operation": "iam:ListRoles", "actor": {}}
CHANGE = {"operation": "iam:CreateUser", "actor": {"session_id": "s"}}


@pytest.mark.parametrize(
    ("denied", "count"),
    [([PAGE] * 99, 0), ([PAGE] * 250, 2), ([BY_KEY] * 3, 3), ([CHANGE] * 3, 3), ([*[PAGE] * 100, CHANGE, BY_KEY], 3)],
)
def test_refused_pages_count_one_for_a_hundred(denied: list[Any], count: int) -> None:
    assert prepare._denials(denied) == count
