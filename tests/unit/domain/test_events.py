"""The canonical bytes of events: whatever is put together by hand is what a plain JSON encoder would write."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cost import costs_less_than

from daypass.domain.events import EVENT_VERSION, MAX_EVENT_BYTES, Event, EventType, decode, encode, encoded

TEXT = st.text(max_size=20)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda x: st.lists(x, max_size=3), max_leaves=5)
MAPPING = st.dictionaries(TEXT, JSON | st.dictionaries(TEXT, JSON, max_size=3), max_size=4)
EVENTS = st.builds(
    Event,
    type=st.sampled_from(EventType),
    at=st.integers(),
    account=TEXT,
    actor=MAPPING | MAPPING.filter(bool).map(MappingProxyType),
    source=MAPPING,
    request_id=TEXT,
    trace_id=TEXT,
    operation=TEXT,
    error=TEXT,
    session_id=TEXT,
    decision=st.none() | MAPPING.filter(bool),
    detail=MAPPING,
)


def plain(event: Event) -> bytes:
    """As docs/reference/record-format.md says it: sorted keys, no spaces, ASCII, what is empty left out."""
    names = Event.__struct_fields__
    body: dict[str, Any] = {name: getattr(event, name) for name in names if name == "at" or getattr(event, name)}
    body["actor"] = dict(event.actor)
    if not event.actor:
        del body["actor"]
    return json.dumps({**body, "v": EVENT_VERSION}, sort_keys=True, separators=(",", ":")).encode("ascii")


@given(EVENTS)
def test_encode_any_event_is_what_a_plain_encoder_writes(event: Event) -> None:
    assert encode(event) == plain(event)
    assert encode(event) == plain(event)  # and again, with what was kept from the first time
    assert decode(encode(event))["type"] == event.type.value


def test_encode_event_over_the_cap_is_cut_and_still_decodes() -> None:
    event = Event(EventType.REQUEST_DENIED, 1, account="1" * 12, detail={"policy": "p" * 40_000, "n": 7})
    body = decode(encode(event))
    assert (body["account"], body["detail"]["n"]) == ("1" * 12, 7)
    assert body["detail"]["policy"].endswith("...(+39488)")
    many = Event(EventType.REQUEST_DENIED, 1, account="1" * 12, detail={str(n): "x" * 500 for n in range(200)})
    body = decode(encode(many))
    assert "dropped" in body["detail"]
    assert body["account"] == "1" * 12
    assert len(encode(many)) <= MAX_EVENT_BYTES


def test_encode_grant_and_client_are_members_only_where_there_are_any() -> None:
    event = Event(EventType.SESSION_ISSUED, 1, grant_id="g-1", client_id="web")
    assert encode(event) == b'{"at":1,"client_id":"web","grant_id":"g-1","type":"session.issued","v":1}'
    assert encode(Event(EventType.SESSION_ISSUED, 1)) == b'{"at":1,"type":"session.issued","v":1}'


@pytest.mark.parametrize("detail", [{"x": object()}, {"x": {1: {2, 3}}}])
def test_encode_what_json_cannot_hold_raises(detail: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(Event(EventType.REQUEST_DENIED, 1, detail=detail))


JWS = "eyJhbGciOiJFUzI1NiJ9.ewogICJpc3MiOiAiYSJ9.c2lnbmF0dXJlLWNhbmFyeQ"
PEM = '-----BEGIN RSA PRIVATE KEY-----\nMII"canary\\\n-----END RSA PRIVATE KEY-----\n'


@pytest.mark.parametrize(
    ("put", "left"),
    [
        (JWS, "***"),
        (f"Bearer {JWS}, and more", "Bearer ***, and more"),
        (f"one\n{JWS}\t{JWS}", "one\n***\t***"),
        (f"certificates\n{PEM}", "certificates\n***"),
    ],
)
def test_a100_secret_that_was_put_in_the_wrong_place_is_masked_on_the_record(put: str, left: str) -> None:
    event = Event(EventType.REQUEST_FAILED, 1, detail={"parameters": {"RoleArn": put}, "rest": ["kept"]})
    assert decode(encode(event))["detail"] == {"parameters": {"RoleArn": left}, "rest": ["kept"]}


@pytest.mark.parametrize(
    "like", ["a.eyes.ewe", "https://www.eye.example", "PRIVATE KEY-----", f"x{JWS}", "eyJh.eyJp.c2ln"]
)
def test_encode_what_only_resembles_a_secret_is_kept(like: str) -> None:
    assert decode(encode(Event(EventType.REQUEST_FAILED, 1, detail={"a": like})))["detail"]["a"] == like


@pytest.mark.parametrize(
    ("detail", "whole"),
    [({"name": "***...(+5)"}, True), ({"key": PEM}, False), ({"name": "x" * MAX_EVENT_BYTES}, False)],
)
def test_encoded_says_whether_text_was_masked_or_cut(detail: dict[str, str], whole: bool) -> None:
    event = Event(EventType.REQUEST_ALLOWED, 1, detail=detail)
    assert encoded(event) == (encode(event), whole)


@pytest.mark.parametrize("part", [".eyAAAAAAAA", "-eyAAAAAAAA", "/ey", "-----BEGIN PRIVATE KEY-----", "\\"])
def test_a99_looking_for_secrets_takes_no_time_whatever_is_there(part: str) -> None:
    event = Event(EventType.REQUEST_FAILED, 1, detail={"a": f"{part * (25_000 // len(part))}.ey"})
    assert costs_less_than(0.2, lambda: decode(encode(event)))
