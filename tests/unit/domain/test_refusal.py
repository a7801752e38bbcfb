"""An anonymous refusal keeps who, what, when, and as much of the rest as has room."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.events import Event, EventType, encode
from daypass.domain.status_list import brief, cut


def refusal(detail: dict[str, Any], agent: str = "curl/8") -> Event:
    return Event(
        EventType.REQUEST_MALFORMED,
        1_800_000_000_000,
        account="111122223333",
        source={"ip": "2001:db8::1", "user_agent": agent, "region": "eu-central-1"},
        request_id="7d0b0a3e-6a31-4c22-9f21-7a2f6c1de3aa",
        operation="sts:AssumeRoleWithWebIdentity",
        error="invalid_identity_token",
        detail=detail,
    )


def test_brief_leaves_a_usual_refusal_as_it_is() -> None:
    usual = refusal(
        {"parameters": {"RoleArn": "arn:aws:iam::111122223333:role/ops", "n": 3}, "private": {"reason": "x"}}
    )
    assert encode(brief(usual)) == encode(usual)


@pytest.mark.parametrize(
    "text", ["a" * 16_000, "\0" * 16_000, "\u00e9" * 16_000, "\U0001f512" * 4_000, "\ud800" * 9_000]
)
def test_a114_brief_is_small_whatever_was_sent(text: str) -> None:
    nested: Any = text
    for _ in range(50):
        nested = {"x": nested}
    detail = {"parameters": {f"{text[:40]}{n}": text for n in range(500)}, "names": [text] * 500, "deep": nested}
    short = encode(brief(refusal(detail, text)))
    assert len(short) <= 2_560
    body = json.loads(short)
    assert body["source"]["ip"] == "2001:db8::1"
    assert body["error"] == "invalid_identity_token"
    assert body["source"]["user_agent"].endswith("...")


def test_cut_counts_bytes_of_json() -> None:
    assert cut("short", 192) == "short"
    assert cut("a" * 100, 30) == "a" * 25 + "..."
    assert cut("\0" * 100, 35) == "\0" * 5 + "..."
