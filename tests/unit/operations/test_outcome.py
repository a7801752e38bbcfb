"""How refusals end on the record, and what an encoded message gives away."""

from __future__ import annotations

import json
import os
import zlib

import pytest
from tests.unit.operations.fakes import ALPHA, BETA, World

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType, encode
from daypass.domain.policy.model import Decision, Layer
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
