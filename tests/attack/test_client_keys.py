"""Attack A226: odd key sets of clients. Keys that can never verify are refused when they are written; the rest fails closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attack.installation import Answer, Installation
from tests.issuer import make_key, public_jwk
from tests.oauth import authorization_server, refusal
from tests.oauth_client import Client, api

KEY = make_key("ES256")
EC = public_jwk(KEY, kid="k1", alg="ES256", use="sig")
RSA = public_jwk(make_key("PS256"), kid="k1", alg="PS256", use="sig")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("keys")) as made:
        yield made


def registered(site: Installation, keys: list[Any]) -> Answer:
    settings = {"jwks": {"keys": keys}, "grant_types": ["client_credentials"], "fapi_exceptions": ["bearer_tokens"]}
    return api(site, "POST", "/clients", {"name": "app", "settings": settings})


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ([EC, RSA], "two of its keys have the same kid"),
        ([{**EC, "kid": f"k{number}"} for number in range(101)], "it has more than 100 keys"),
        ([{}], "none of its keys verifies signatures"),
        ([{**EC, "alg": "none"}, {**EC, "kid": "k2", "alg": "HS256"}], "none of its keys signs with"),
        ([{"kty": 5}], "none of its keys verifies signatures"),
        ([{**EC, "use": "enc"}], "none of its keys verifies signatures"),
        ([{**EC, "key_ops": "verify"}], "none of its keys verifies signatures"),
        ([{**EC, "x": 1}], "the member x of a key"),
        ([{**EC, "crv": ["P-256"]}], "the member crv of a key"),
        ([{**EC, "kid": None}], "the member kid of a key"),
        ([{**EC, "alg": 1}], "the member alg of a key"),
        ([{**EC, "d": "AAAA"}], "private or symmetric key"),
        ([{**RSA, "e": "AQ"}], "public exponent of 1 bits"),
        ([{**RSA, "n": "_" * 60_000}], "the member n of a key is not a string, or too long"),
    ],
)
def test_a226_key_set_that_can_never_verify_is_refused(site: Installation, keys: list[Any], reason: str) -> None:
    answer = registered(site, keys)
    assert answer.status == 400
    message = json.loads(answer.body)["error"]["message"]
    assert message.startswith("jwks: ")
    assert reason in message


@pytest.mark.parametrize("changes", [{"y": EC["x"]}, {"x": EC["x"] + "AAAA"}, {"x": "\u00e9" * 43}, {"crv": "P-521"}])
def test_a226_key_that_is_none_authenticates_nobody(site: Installation, changes: dict[str, Any]) -> None:
    made = json.loads(registered(site, [{**EC, **changes}]).body)
    answer = Client(site, made["client_id"], made["arn"], KEY).token()
    record = refusal(site, answer, "invalid_client", 401)
    assert record["type"] == "request.unauthenticated"
    assert json.loads(answer.body)["error_description"] == "Client authentication failed."
