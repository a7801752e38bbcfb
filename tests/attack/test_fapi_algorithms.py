"""Attack A225: a confidential client signs with an algorithm that FAPI 2.0 does not allow, without the exception (5.4.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.attack.installation import Installation
from tests.issuer import make_key, public_jwk
from tests.oauth import authorization_server, given, post, refusal
from tests.oauth_client import Client, DpopKey, api, register, trusting

ALLOWED = ("PS256", "ES256", "EdDSA", "Ed25519")
OTHERS = ("RS256", "PS384", "ES384")
METADATA = b"/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("fapi")) as made:
        yield made


def client_of(site: Installation, alg: str, *exceptions: str) -> Client:
    """A client that signs with `alg`, and has an ES256 key, too: without it, it could not be registered."""
    key, other = make_key(alg), public_jwk(make_key("ES256"), kid="other")
    client = register(
        site,
        token_endpoint_auth_method="private_key_jwt",
        jwks={"keys": [public_jwk(key, kid="k1", alg=alg), other]},
        grant_types=["client_credentials"],
        roles=["*"],
        fapi_exceptions=["bearer_tokens", *exceptions],
    )
    client.key, client.alg = key, alg
    return client


def served(client: Client, dpop: DpopKey | None = None) -> str:
    """The type of the token that the client gets for a role."""
    role = client.site.role(f"of-{client.id}", trusting(client))
    return str(given(client.token(dpop=dpop, role=role))["token_type"])


@pytest.mark.parametrize("alg", ALLOWED)
def test_client_that_signs_as_fapi_demands_is_served(site: Installation, alg: str) -> None:
    client, key = client_of(site, alg), DpopKey(site, alg)
    client.token(dpop=key)
    assert served(client, key) == "DPoP"


@pytest.mark.parametrize("alg", OTHERS)
def test_a225_assertion_of_another_algorithm_is_refused_with_the_reason(site: Installation, alg: str) -> None:
    client = client_of(site, alg)
    answer = client.token()
    record = refusal(site, answer, "invalid_client", 401)
    assert "other_algorithms" in json.loads(answer.body)["error_description"]
    assert record["type"] == "request.unauthenticated"
    assert record["detail"]["private"]["reason"] == f"FAPI 2.0 does not allow {alg}"
    assert served(client_of(site, alg, "other_algorithms")) == "Bearer"


@pytest.mark.parametrize("alg", OTHERS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a225_client_whose_keys_all_sign_otherwise_is_refused_when_it_is_written(
    site: Installation, alg: str, method: str
) -> None:
    keys = [public_jwk(make_key(alg), kid="k1", alg=alg)]
    settings = {"jwks": {"keys": keys}, "grant_types": ["client_credentials"]}
    path = register(site).path if method == "PUT" else "/clients"
    answer = api(site, method, path, {"name": "app", "settings": settings})
    assert answer.status == 400
    assert "other_algorithms" in json.loads(answer.body)["error"]["message"]
    allowed = {"name": "app", "settings": {**settings, "fapi_exceptions": ["other_algorithms"]}}
    assert api(site, method, path, allowed).status in (200, 201)


def test_rsa_and_p256_keys_without_alg_are_registered_because_fapi_allows_them(site: Installation) -> None:
    for alg, curve in (("RS256", ""), ("ES256", ""), ("ES384", "P-384")):
        settings = {"jwks": {"keys": [public_jwk(make_key(alg), kid="k1")]}, "grant_types": ["client_credentials"]}
        answer = api(site, "POST", "/clients", {"name": "app", "settings": settings})
        assert answer.status == (400 if curve else 201)


def test_a225_forged_assertion_of_another_algorithm_learns_no_reason(site: Installation) -> None:
    client = client_of(site, "RS256")
    sent = client.credentials()
    answer = client.token(**{**sent, "client_assertion": sent["client_assertion"][:-8] + "AAAAAAAA"})
    refusal(site, answer, "invalid_client", 401)
    assert json.loads(answer.body)["error_description"] == "Client authentication failed."


@pytest.mark.parametrize("path", ["/oauth2/introspect", "/oauth2/revoke"])
def test_a225_other_endpoints_refuse_the_assertion_too(site: Installation, path: str) -> None:
    client = client_of(site, "RS256")
    answer = post(site, path, [("token", "x"), *client.credentials().items()])
    refusal(site, answer, "invalid_client", 401)


@pytest.mark.parametrize("alg", OTHERS)
def test_a225_proof_of_another_algorithm_is_refused_with_the_reason(site: Installation, alg: str) -> None:
    client, key = client_of(site, "ES256"), DpopKey(site, alg)
    client.token(dpop=key)  # for the nonce
    answer = client.token(dpop=key)
    refusal(site, answer, "invalid_dpop_proof")
    assert "other_algorithms" in json.loads(answer.body)["error_description"]
    allowed = client_of(site, "ES256", "other_algorithms")
    assert served(allowed, key) == "DPoP"


def test_metadata_name_the_algorithms_that_every_client_may_use(site: Installation) -> None:
    shown = json.loads(site.send("GET", path=METADATA).body)
    for name in ("token_endpoint_auth", "introspection_endpoint_auth", "revocation_endpoint_auth", "dpop"):
        assert shown[f"{name}_signing_alg_values_supported"] == list(ALLOWED)
