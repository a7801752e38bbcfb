"""`review`, over a scripted server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.client.servers import as_json

ANN = "arn:aws:iam::111122223333:user/ann"
LEE = "arn:aws:iam::111122223333:user/lee"
REVIEW = {
    "id": "ab" * 16, "account": "111122223333", "beneficiary": ANN, "roles": ["arn:aws:iam::111122223333:role/prod"],
    "reason": "orders \x1b[31mare lost", "opened_at": 1_800_000_000_000, "closed_at": None, "closed_by": "", "finding": "",
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("key")


def test_review_ls_shows_who_which_role_when_and_why(cli: Any, serve: Any) -> None:
    closed = {**REVIEW, "closed_at": 1_800_000_060_000, "closed_by": LEE, "finding": "it was right"}
    serve(as_json({"access_reviews": [REVIEW, closed], "next": ""}))
    headings, first, second = cli("review", "ls", "--all").out.splitlines()
    assert headings.split() == ["REQUEST", "OPENED", "WHO", "ROLES", "REASON", "CLOSED", "BY", "FINDING"]
    for shown in ("ab" * 16, "2027-01-15 08:00:00Z", "user/ann", "role/prod", "orders \\u001b[31mare lost"):
        assert shown in first
    assert second.endswith("2027-01-15 08:01:00Z  user/lee  it was right")
