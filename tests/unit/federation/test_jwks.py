"""Key sets and discovery documents of strangers: what is taken of them, and what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daypass.federation.jwks import read_discovery, read_keys

ISSUERS = frozenset({"https://ci.example.com"})
_NAMES = st.sampled_from(["keys", "kty", "kid", "use", "key_ops", "d", "n", "e", "x", "issuer", "jwks_uri", "alg"])
_WORDS = st.sampled_from(["EC", "RSA", "sig", "jwt-svid", "verify", "https://ci.example.com"])
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS


def NAMED(values: Any) -> Any:
    return st.dictionaries(_NAMES, values, max_size=6)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


KEY = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"keys": [{**KEY, "kid": "a"}, {**KEY, "kid": "a", "x": "BB"}]}, "same kid"),
        ({"keys": [{**KEY, "kid": str(i)} for i in range(101)]}, "more than 100"),
        ({"keys": []}, "none of its keys"),
        ({"keys": {}}, "not a key set"),
        ([], "not a key set"),
        ({"keys": [{**KEY, "kid": 7}]}, "kid"),
        ({"keys": [{**KEY, "kid": "k" * 513}]}, "kid"),
        ({"keys": [{**KEY, "x": "A" * 4097}]}, "member x"),
        ({"keys": [{"kty": "oct", "k": "AA"}]}, "none of its keys"),
        ({"keys": [{**KEY, "d": "AA"}]}, "none of its keys"),
        ({"keys": [{**KEY, "use": "enc"}]}, "none of its keys"),
        ({"keys": [{**KEY, "key_ops": ["sign"]}]}, "none of its keys"),
        ({"keys": [{**KEY, "key_ops": "verify"}]}, "none of its keys"),
        ({"keys": [7, None, "x", [], {"kty": ["EC"]}]}, None),
    ],
)
def test_key_set_that_is_no_good_is_refused(document: Any, says: str | None) -> None:
    with pytest.raises(ValueError, match=says):
        read_keys(json.dumps(document).encode())


def test_key_set_is_reduced_to_public_parts_in_one_form() -> None:
    one = read_keys(
        json.dumps({"keys": [{**KEY, "kid": "a", "x5c": ["MII"], "jku": "http://x", "use": "sig"}]}).encode()
    )
    two = read_keys(json.dumps({"keys": [{"kid": "a", **KEY}, {"kty": "new"}], "more": 1}).encode())
    assert one == two
    assert json.loads(one.set.jwks) == {"keys": [{"kid": "a", **KEY}]}


def test_key_set_of_very_many_parts_is_refused_before_it_is_read() -> None:
    for body in (
        b"[" + b"{}," * 5_000 + b"{}]",
        b'{"keys":[' + b"[" * 6_000,
        b'{"keys":[],"x":"' + b"," * 6_000 + b'"}',
    ):
        with pytest.raises(ValueError, match="too many parts"):
            read_keys(body)


@given(
    st.one_of(st.binary(max_size=200), st.recursive(JSON, lambda v: st.lists(v) | NAMED(v), max_leaves=20).map(as_json))
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_anything_published_is_keys_or_a_value_error(body: bytes) -> None:
    for read in (read_keys, lambda data: read_keys(data, spiffe=True), lambda data: read_discovery(data, ISSUERS)):
        with contextlib.suppress(ValueError):
            read(body)
