"""Kinds of errors and refusals: what each wire answers, and what the record keeps of an anonymous one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.errors import ErrorKind, Family
from daypass.domain.events import Event, EventType, encode
from daypass.domain.status_list import brief, cut
from daypass.wire import json_errors as api
from daypass.wire import rolesanywhere_model
from daypass.wire.service_models import aws_code

WIRES = (api.wire_error, aws_code, rolesanywhere_model.wire_error)  # pages, SCIM and AuthZEN answer by the first


def test_family_every_family_has_a_kind() -> None:
    assert {kind.family for kind in ErrorKind} == set(Family)


@pytest.mark.parametrize("kind", ErrorKind)
def test_wire_error_what_can_be_tried_again_is_told_by_the_status_of_every_wire(kind: ErrorKind) -> None:
    statuses = {wire(kind)[1] for wire in WIRES}
    assert (statuses == {503}) == (kind.family is Family.UNAVAILABLE)
    assert (429 in statuses) == (kind.family is Family.THROTTLED)


@pytest.mark.parametrize("kind", [k for k in ErrorKind if k.family is Family.DENIED])
def test_wire_error_denial_is_403_on_every_wire(kind: ErrorKind) -> None:
    assert {wire(kind)[1] for wire in WIRES} == {403}


# --- An anonymous refusal keeps who, what, when, and as much of the rest as has room


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
