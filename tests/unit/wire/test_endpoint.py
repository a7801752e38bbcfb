"""A field that is not valid is refused with its place and its rule in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.api import access_requests, record, sessions
from daypass.domain.errors import DaypassError
from daypass.wire.endpoints.endpoint import make_input

ROLE = "arn:aws:iam::111122223333:role/r"


@pytest.mark.parametrize(
    ("operation", "values", "said"),
    [
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [ROLE], "reason": "x", "seconds": 9_000_000},
         "body.seconds: it must be at most 604800"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [ROLE], "reason": "x", "seconds": -1},
         "body.seconds: it must be at least 60"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [ROLE], "reason": "x" * 99_999}, "characters"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [], "reason": "x"}, "body.roles: it must have at least 1 members"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": "r", "reason": "x"}, "body.roles: it must be a list"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [ROLE], "reason": 5}, "body.reason: it must be text"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [ROLE]}, "body: reason is missing"),
        (access_requests.CREATE_ACCESS_REQUEST, {"roles": [ROLE], "reason": "x", "colour": 1}, "body: it has an unknown member"),
        (record.FOLLOW_RECORDS, {"limit": "x"}, "body.limit: it must be a whole number"),
        (sessions.REVOKE_SESSION, {"kind": "role", "value": "x", "subject": "x"}, "body: it has an unknown member"),
    ],
)  # fmt: skip
def test_make_input_with_a_wrong_field_is_refused_in_plain_words(operation: Any, values: Any, said: str) -> None:
    with pytest.raises(DaypassError) as refused:
        make_input(operation, values)
    assert said in refused.value.public
    assert "`" not in refused.value.public
