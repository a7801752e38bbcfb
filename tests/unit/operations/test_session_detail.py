"""The detail of a session's event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.events import Event, EventType, encode
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.operations.assume.issue import session_detail

SEEN = FeedPosition("life", 1)


def claims(name: str = "shift", parent: str = "", **more: Any) -> SessionClaims:
    hops = (
        Hop(parent, "1" * 12, "AIDAUSER", 1, SEEN, "AKIAUSER", "ann"),
        Hop("a" * 32, "1" * 12, "AROAONE", 2, SEEN, "ASIAONE", name),
    )
    return SessionClaims(SessionKind.ROLE, "a" * 32, "1" * 12, "AROAONE", "arn", name, 2, 3, SEEN, hops, **more)


@given(st.text() | st.text(alphabet="ab.@-"))
def test_session_detail_by_hand_is_what_an_encoder_writes(name: str) -> None:
    detail = session_detail(claims(name), "", ())
    event = Event(EventType.SESSION_ISSUED, 2, detail=detail)
    assert encode(event) == encode(Event(EventType.SESSION_ISSUED, 2, detail=dict(detail)))
    assert (
        dict(detail)
        == json.loads(encode(event))["detail"]
        == {
            "access_key_id": "ASIAONE",
            "expires_at": 3,
            "hops": 2,
            "kind": "role",
            "name": name,
            "principal": "arn",
            "principal_id": "AROAONE",
        }
    )


@pytest.mark.parametrize(
    ("more", "policy", "member"),
    [
        ({"tags": (("a", "b"),)}, "", "tags"),
        ({"source_identity": "ann"}, "", "source_identity"),
        ({}, "{}", "policy"),
        ({"policy_hashes": ("c" * 64,)}, "", "policy_arns"),
        ({"description": "d"}, "", "description"),
        ({"parent": "b" * 32}, "", "parent_session_id"),
    ],
)
def test_session_detail_with_more_than_the_usual_says_so(more: dict[str, Any], policy: str, member: str) -> None:
    detail = session_detail(claims(**more), policy, ("arn:aws:iam::aws:policy/X",))
    assert member in json.loads(encode(Event(EventType.SESSION_ISSUED, 2, detail=detail)))["detail"]


def test_session_detail_of_an_event_over_the_size_limit_is_kept() -> None:
    event = Event(
        EventType.SESSION_ISSUED, 2, source={"user_agent": "x" * 40_000}, detail=session_detail(claims(), "", ())
    )
    assert json.loads(encode(event))["detail"]["name"] == "shift"
