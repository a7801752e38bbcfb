"""Small values of OAuth: the binding of a token, PKCE, and the keys in a client's settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from daypass.domain.oauth.client import key_source, parse_client
from daypass.domain.oauth.resource_server import JKT, X5T, Binding, binding_of, parse_resource_server
from daypass.domain.oauth.urls import fits, is_challenge

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


def text_of_keys(number: int, size: int) -> str:
    return json.dumps({"jwks": {"keys": [{**PUBLIC, "kid": f"{number}-{place}-{'k' * 500}"} for place in range(size)]}})


def text_of_scopes(number: int, size: int) -> str:
    return json.dumps({"scopes": {f"s{place}": {"description": f"{number} {'d' * 500}"} for place in range(size)}})


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_client, text_of_keys),
        (partial(key_source, "111122223333", "DPCL"), text_of_keys),
        (parse_resource_server, text_of_scopes),
    ],
)
def test_a320_few_of_the_large_settings_that_an_account_changes_again_and_again_are_kept(
    parse: Callable[[str], object], text: Callable[[int, int], str]
) -> None:
    small, large = parse(text(0, 1)), parse(text(0, 20))
    assert parse(text(0, 20)) is large
    for number in range(1, 70):
        parse(text(number, 20))
    assert parse(text(0, 20)) is not large
    assert parse(text(0, 20)) == large
    assert parse(text(0, 1)) is small
    assert key_source("111122223333", "DPCM", text_of_keys(0, 1)) != key_source(
        "111122223333", "DPCL", text_of_keys(0, 1)
    )
