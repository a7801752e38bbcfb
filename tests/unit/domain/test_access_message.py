"""Messages of notifications, and the limits of a request's texts, at their boundaries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.access.message import Message, message_of, slack_of
from daypass.domain.access.rule import LimitExceeded, ReasonRule, check_reason, check_ticket
from daypass.domain.access.terms import MAX_REASON, MAX_TICKET


def document(**detail: Any) -> dict[str, Any]:
    return {"type": "access.requested", "actor": "ann", "link": "", "detail": detail}


def test_message_of_shows_what_is_there_in_order() -> None:
    shown = message_of(
        document(ticket="T-1", reason="x\u202ey", roles=["a", "b"], risk=0, seconds=60, grants=[], other=1)
    )
    assert shown.lines == (("by", "ann"), ("roles", "a, b"), ("reason", "x y"), ("ticket", "T-1"), ("seconds", "60"))


@pytest.mark.parametrize(
    ("detail", "title"),
    [
        ({}, "Access is requested"),
        (
            {"roles": ["arn:aws:iam::111122223333:role/prod/x"], "requester": "arn:aws:iam::111122223333:user/a/ann"},
            "Access is requested: x, for ann",
        ),
        ({"roles": ["r/a", "r/b", "r/c", "r/d", "r/e"]}, "Access is requested: a, b, c and 2 more"),
        (
            {"roles": ["r/a"], "requester": "arn:aws:sts::111122223333:assumed-role/engineer/boss"},
            "Access is requested: a",
        ),
    ],
)
def test_message_of_a_title_names_the_roles_and_a_user(detail: dict[str, Any], title: str) -> None:
    """Not a session, whose name people choose: the approver would take it for a person."""
    assert message_of(document(**detail)).title == title


@pytest.mark.parametrize(("length", "expected"), [(300, "x" * 300), (301, "x" * 300 + "…")])
def test_message_of_a_long_text_is_shortened(length: int, expected: str) -> None:
    assert dict(message_of(document(reason="x" * length)).lines)["reason"] == expected


def test_slack_of_a_long_message_has_what_slack_accepts() -> None:
    body = json.loads(slack_of(Message("t", tuple((str(n), "x" * 300) for n in range(20)), "")))
    assert len(body["blocks"][0]["text"]["text"]) == 3_000


def test_check_reason_and_ticket_of_the_longest_are_accepted_and_one_more_is_refused() -> None:
    reason, ticket = ("abcd" * 300)[:MAX_REASON], "T" * MAX_TICKET
    check_reason(reason, ReasonRule())
    check_ticket(ticket, None)
    assert (MAX_REASON, MAX_TICKET) == (1_024, 128)
    for longer in (lambda: check_reason(reason + "a", ReasonRule()), lambda: check_ticket(ticket + "T", None)):
        with pytest.raises(LimitExceeded):
            longer()
