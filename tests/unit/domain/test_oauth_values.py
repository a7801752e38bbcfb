"""Small values of OAuth: the binding of a token, PKCE, and the keys in a client's settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.oauth.binding import JKT, X5T, Binding, binding_of
from daypass.domain.oauth.client import parse_client
from daypass.domain.oauth.pkce import fits, is_challenge

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PUBLIC = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, None),
        ({"cnf": "text"}, None),
        ({"cnf": {"kid": "1"}}, None),
        ({"cnf": {JKT: "a"}}, Binding(JKT, "a")),
        ({"cnf": {X5T: "b"}}, Binding(X5T, "b")),
        ({"cnf": {X5T: "b", JKT: "a"}}, Binding(JKT, "a")),
    ],
)
def test_binding_of_names_the_key_of_a_bound_token(claims: dict[str, Any], expected: Binding | None) -> None:
    assert binding_of(claims) == expected
    if expected is not None:
        assert binding_of({"cnf": expected.claim}) == expected


def test_fits_verifier_of_the_standards_example() -> None:
    assert is_challenge(CHALLENGE)
    assert fits(VERIFIER, CHALLENGE)
    assert not fits(VERIFIER[:-1] + "l", CHALLENGE)
    assert not fits("é" * 43, CHALLENGE)


@pytest.mark.parametrize("text", ["", CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE[:-1] + "=", CHALLENGE[:-1] + "\n"])
def test_is_challenge_of_another_form_is_false(text: str) -> None:
    assert not is_challenge(text)


@pytest.mark.parametrize(
    ("jwks", "message"),
    [
        ({"keys": [{**PUBLIC, "d": "AA"}]}, "private or symmetric"),
        ({"keys": [PUBLIC, {"kty": "oct", "k": "AA"}]}, "private or symmetric"),
        ({"keys": []}, "at least one key"),
        ({"keys": PUBLIC}, "at least one key"),
        ({"keys": [1]}, "at least one key"),
        ({"keys": [{**PUBLIC, "x": 1.5}]}, "a number"),
    ],
)
def test_parse_client_keys_that_are_not_public_keys_are_refused(jwks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_client(json.dumps({"jwks": jwks}))
    assert parse_client(json.dumps({"jwks": {"keys": [PUBLIC]}})).jwks == {"keys": [PUBLIC]}
