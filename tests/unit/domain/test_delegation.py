"""Delegation in tokens is read in one way, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.domain.jws import MAX_DEPTH, Party, actors, may_act

ISSUER = "https://idp.example.com"


def nested(depth: int) -> dict[str, Any]:
    return {"sub": f"p{depth}", **({"act": nested(depth - 1)} if depth > 1 else {})}


def test_actors_are_the_newest_first_with_their_issuers() -> None:
    act = {"sub": "b", "act": {"sub": "a", "iss": "https://other.example"}}
    assert actors({"act": act}, ISSUER) == (Party(ISSUER, "b"), Party("https://other.example", "a"))
    assert actors({"act": nested(MAX_DEPTH)}, ISSUER)[-1] == Party(ISSUER, "p1")


@pytest.mark.parametrize("claims", [{}, {"act": None, "may_act": None}])
def test_token_without_delegation_has_none(claims: dict[str, Any]) -> None:
    assert actors(claims, ISSUER) == ()
    assert may_act(claims, ISSUER) is None


def test_may_act_names_one_party() -> None:
    assert may_act({"may_act": {"sub": "svc"}}, ISSUER) == Party(ISSUER, "svc")
    assert may_act({"may_act": {"sub": "svc", "iss": "https://x"}}, ISSUER) == Party("https://x", "svc")


@pytest.mark.parametrize(
    "value",
    [
        *("svc", [], 5, True, {}, {"sub": ""}, {"sub": 5}, {"iss": "x"}),
        *({"sub": "a", "iss": ""}, {"sub": "a", "iss": None}, {"sub": "a", "client_id": "b"}, {"sub": "a", "act": "b"}),
        *({"sub": "a\n"}, {"sub": "a" * 256}),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"its (?:may_)?act claim"):
        actors({"act": value}, ISSUER)
    with pytest.raises(ValueError, match="its may_act claim"):
        may_act({"may_act": value}, ISSUER)


def test_may_act_with_a_chain_and_a_chain_that_is_too_deep_are_refused() -> None:
    with pytest.raises(ValueError, match="not understood"):
        may_act({"may_act": {"sub": "a", "act": {"sub": "b"}}}, ISSUER)
    with pytest.raises(ValueError, match="nested more than"):
        actors({"act": nested(MAX_DEPTH + 1)}, ISSUER)
