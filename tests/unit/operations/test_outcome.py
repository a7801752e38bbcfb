"""What a call is decided on and recorded as: actor, risk of denials, trust claims, session details, outcomes."""

from __future__ import annotations

import json
import os
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operations.fakes import ALPHA, BETA, World

from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType, encode
from daypass.domain.policy.model import Decision, Layer, PrincipalFacts
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.operations.access import trust_test
from daypass.operations.access_requests import prepare
from daypass.operations.assume.applicant import Applicant, IssuanceSnapshot, SessionParent, acted_for
from daypass.operations.assume.issue import session_detail
from daypass.operations.oauth.parties import _own_actor
from daypass.operations.outcome import OWNER, pack, refused, unpack


@pytest.mark.parametrize(
    ("kind", "known", "expected"),
    [
        (ErrorKind.ACCESS_DENIED, True, EventType.REQUEST_DENIED),
        (ErrorKind.SIGNATURE_MISMATCH, False, EventType.REQUEST_UNAUTHENTICATED),
        (ErrorKind.MISSING_CREDENTIALS, False, EventType.REQUEST_UNAUTHENTICATED),
        (ErrorKind.EXPIRED_CREDENTIALS, False, EventType.REQUEST_UNAUTHENTICATED),
        (ErrorKind.UNKNOWN_CREDENTIALS, True, EventType.REQUEST_FAILED),
        (ErrorKind.MALFORMED_REQUEST, False, EventType.REQUEST_MALFORMED),
        (ErrorKind.UNKNOWN_OPERATION, False, EventType.REQUEST_MALFORMED),
        (ErrorKind.VALIDATION, True, EventType.REQUEST_FAILED),
        (ErrorKind.NOT_FOUND, True, EventType.REQUEST_FAILED),
        (ErrorKind.UNAVAILABLE, False, EventType.REQUEST_FAILED),
    ],
)
async def test_refused_gives_each_kind_its_event(
    world: World, kind: ErrorKind, known: bool, expected: EventType
) -> None:
    caller = await world.caller(world.key(ALPHA)) if known else None
    error = DaypassError(kind, "public", private={"reason": "because"})
    assert await refused(world.env, world.facts("sts:Test"), caller, error, {"params": {"A": "1"}}) == ""
    (event,) = world.journal.events
    assert (event.type, event.error, event.account) == (expected, kind.value, ALPHA if known else "")
    assert event.detail == {"params": {"A": "1"}, "private": {"reason": "because"}}
    assert encode(event)


async def test_refused_goes_to_the_account_that_owns_the_decision(world: World) -> None:
    caller = await world.caller(world.key(ALPHA))
    error = DaypassError(ErrorKind.ACCESS_DENIED, "no", private={OWNER: BETA}, explanation={"allowed": False})
    message = await refused(world.env, world.facts("sts:Test"), caller, error, {})
    account, payload = await world.sealer.open_message(message)
    assert (account, unpack(payload)) == (BETA, {"allowed": False})
    (event,) = world.journal.events
    assert (event.account, event.actor["account"], event.decision) == (BETA, ALPHA, {"allowed": False})
    assert "private" not in event.detail


async def test_refused_that_cannot_be_recorded_is_unavailable(world: World) -> None:
    world.journal.broken = True
    with pytest.raises(DaypassError) as caught:
        await refused(world.env, world.facts(""), None, DaypassError(ErrorKind.VALIDATION, "no"), {})
    assert caught.value.kind is ErrorKind.UNAVAILABLE


def test_pack_hides_the_length_of_an_explanation() -> None:
    short = pack({"allowed": False}, "a", 6144)
    long = pack({"allowed": False, "statements": [os.urandom(16).hex() for _ in range(60)]}, "b", 6144)
    assert len(short) == len(long)
    assert unpack(long)["allowed"] is False
    assert len(pack({"allowed": False}, "a", 1)) < 100


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\1", b"\0\0\0\2xx", b"\xff\xff\xff\xff", bytes(16)])
def test_unpack_refuses_what_was_not_packed(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"packed|limit"):
        unpack(payload)


def test_unpack_refuses_bombs_and_other_shapes() -> None:
    with pytest.raises(ValueError, match="limit"):
        unpack(pack({"text": "x" * 300_000}, "salt", 1))
    text = zlib.compress(b"[1]")
    with pytest.raises(ValueError, match="not an explanation"):
        unpack(len(text).to_bytes(4, "big") + text)


def test_decision_recorded_is_plain() -> None:
    shown = Decision(False, Layer.SESSION, explicit=True).recorded
    assert json.loads(json.dumps(shown)) == {
        "allowed": False,
        "determining": [],
        "blocked_by": "session",
        "explicit": True,
    }


# --- A party that acts for the subject of a session, and has its own session by an access grant (attack A327)


ACCOUNT, SEEN = "111122223333", FeedPosition("e", 1)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/agent"
ENV: Any = SimpleNamespace(oauth=SimpleNamespace(issuer="https://sts.example.com"))


def agent(grant: str) -> Caller:
    hops = (
        Hop("", ACCOUNT, "AIDAAGENT", 1, SEEN, "AKIA"),
        Hop("5" * 32, ACCOUNT, "AROAAGENT", 1, SEEN, "ASIA", "job", grant),
    )
    session = SessionClaims(SessionKind.ROLE, "5" * 32, ACCOUNT, "AROAAGENT", ROLE, "job", 1, 5_000, SEEN, hops)
    names = (ACCOUNT, ROLE, ROLE, "AROAAGENT", "AROAAGENT:job", "job")
    return Caller(PrincipalKind.ROLE_SESSION, *names, "ASIA", SEEN, hops, session=session)


@pytest.mark.parametrize(
    ("grant", "own", "expected"), [("", 0, 0), ("g" * 32, 0, 5_000), ("g" * 32, 4_000, 4_000), ("", 4_000, 4_000)]
)
def test_acted_for_by_holder_of_a_grant_ends_with_the_grant(grant: str, own: int, expected: int) -> None:
    person = Hop("", ACCOUNT, "AIDAPERSON", 1, SEEN, "AKIA")
    parent = SessionParent((person,), {"arn": "ann"}, not_after=own)
    facts = RequestFacts("", 0, "sts:AssumeRole", "", "")
    principal = PrincipalFacts(PrincipalKind.USER, ACCOUNT, ())
    subject = Applicant(principal, parent, facts, IssuanceSnapshot(1, SEEN), dict)
    assert acted_for(subject, _own_actor(ENV, agent(grant))).parent.not_after == expected


# --- Refusals in the risk of a request: those of pages count a little


PAGE = {"operation": "iam:ListRoles", "actor": {"session_id": "s"}}
BY_KEY = {"operation": "iam:ListRoles", "actor": {}}
CHANGE = {"operation": "iam:CreateUser", "actor": {"session_id": "s"}}


@pytest.mark.parametrize(
    ("denied", "count"),
    [([PAGE] * 99, 0), ([PAGE] * 250, 2), ([BY_KEY] * 3, 3), ([CHANGE] * 3, 3), ([*[PAGE] * 100, CHANGE, BY_KEY], 3)],
)
def test_refused_pages_count_one_for_a_hundred(denied: list[Any], count: int) -> None:
    assert prepare._denials(denied) == count


# --- The detail of a session's event


POSITION = FeedPosition("life", 1)


def claims(name: str = "shift", parent: str = "", **more: Any) -> SessionClaims:
    hops = (
        Hop(parent, "1" * 12, "AIDAUSER", 1, POSITION, "AKIAUSER", "ann"),
        Hop("a" * 32, "1" * 12, "AROAONE", 2, POSITION, "ASIAONE", name),
    )
    return SessionClaims(SessionKind.ROLE, "a" * 32, "1" * 12, "AROAONE", "arn", name, 2, 3, POSITION, hops, **more)


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


# --- The context keys of a token that a trust test could not verify: those that it would have if it were verified


URL = "idp.example.com"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "api"}, {"aud": "api"}),
        ({"aud": "api", "azp": "app"}, {"aud": "app", "oaud": "api", "azp": "app"}),
        ({"aud": ["api", "b"], "azp": "app"}, {"aud": "app", "oaud": ("api", "b"), "azp": "app"}),
        ({"aud": ["api"], "azp": "app"}, {"aud": "app", "oaud": "api", "azp": "app"}),
        ({"aud": ["api", "b"]}, {"aud": ("api", "b")}),
        ({"aud": [], "azp": "app"}, {"azp": "app"}),
        ({"azp": "app"}, {"azp": "app"}),
        ({"aud": "api", "azp": 1}, {"aud": "api", "azp": "1"}),
        ({"aud": ["api", 1], "azp": "app"}, {"aud": ("api", "1"), "azp": "app"}),
        ({"Aud": "a", "aud": "b"}, {}),  # ambiguous: unusable
    ],
)
def test_claimed_audience_and_authorized_party_are_those_of_a_verified_token(
    claims: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert trust_test._unverified_keys(URL, claims) == {f"{URL}:{name}": value for name, value in expected.items()}
