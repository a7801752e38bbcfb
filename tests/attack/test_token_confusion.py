"""A token in the place of another kind: every token that this server or its clients sign, at every place that takes one.

Also encrypted tokens, tokens without a signature and tokens whose signature is a MAC by a public key (RFC 8725, 2 and 3).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey, RSAKey
from tests.attack.confusion import BELONGS, CLOUD, ELSEWHERE, World, denied, made, part
from tests.attack.installation import document, form
from tests.browser import BASE
from tests.issuer import b64
from tests.oauth import ACCESS_TOKEN, EXCHANGE, given, post, token
from tests.oauth_client import api
from tests.sign_in import site_with_pages


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    rates = {"failures_per_second": 1_000_000, "failures_burst": 1_000_000}
    oauth = {"audience_algorithms": ("https://old.example=RS256",)}
    with site_with_pages(tmp_path_factory.mktemp("confusion"), rates=rates, oauth=oauth) as site:
        yield made(site)


SIGNED = (
    *("access token", "ID token", "signed introspection", "status list", "identity assertion", "web identity token"),
    *("client assertion", "DPoP proof", "node proof", "security event token"),
)
KINDS = (
    *SIGNED,
    *("refresh token", "code", "device code", "user code", "request_uri", "client secret", "SCIM token"),
    *("presigned GetCallerIdentity", "SAML response", "AWS session token", "DPoP nonce"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a170_token_in_the_place_of_another_kind_is_refused(world: World, kind: str) -> None:
    text = world.tokens[kind]
    for place, ask in world.places().items():
        if place not in BELONGS.get(kind, ()):
            denied(world, f"{kind} as {place}", ask(text), text)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("access token", "subject access_token"),
        ("access token", "subject jwt"),
        ("access token", "userinfo"),
        ("ID token", "id_token_hint"),
        ("presigned GetCallerIdentity", "subject presigned"),
        ("AWS session token", "session token"),
        ("SCIM token", "scim"),
    ],
)
def test_a170_token_in_its_own_place_is_accepted(world: World, kind: str, place: str) -> None:
    """So the refusals of the others are not those of a place that takes nothing."""
    answer = world.places()[place](world.tokens[kind])
    assert answer.status in (200, 201), answer.body


def test_a170_kinds_are_told_apart_by_their_type_alone(world: World) -> None:
    """Each kind that this server signs has its own `typ`; the two ID tokens have different issuers."""
    signed = {kind: world.tokens[kind] for kind in SIGNED}
    types = {kind: part(text, 0).get("typ", "").lower() for kind, text in signed.items()}
    assert types.pop("ID token") == types["web identity token"] == "jwt"
    assert part(world.tokens["web identity token"], 1)["iss"] != part(world.tokens["ID token"], 1)["iss"]
    assert len(set(types.values())) == len(types)


@pytest.mark.parametrize("kind", KINDS)
def test_a170_token_of_another_kind_is_not_active_and_its_revocation_ends_nothing(world: World, kind: str) -> None:
    text, own = world.tokens[kind], kind == "access token"
    asked = {"token": text, "token_type_hint": "access_token"}
    answer = given(post(world.site, "/oauth2/introspect", {**asked, **world.client.credentials()}))
    assert answer["active"] is own or answer == {"active": False}
    if kind not in ("access token", "refresh token"):
        assert post(world.site, "/oauth2/revoke", {**asked, **world.client.credentials()}).status == 200
        assert world.places()["userinfo"](world.tokens["access token"]).status == 200


def test_a259_installation_that_is_its_own_provider_accepts_none_of_its_tokens(world: World) -> None:
    """An account registers this server's issuer and keys as an identity provider, for every audience there is."""
    site, jwks = world.site, world.site.send("GET", path=b"/.well-known/jwks.json").body.decode()
    audiences = {
        f"ClientIDList.member.{n}": name for n, name in enumerate((BASE, CLOUD, ELSEWHERE, world.client.id), 1)
    }
    arn = site.iam("CreateOpenIDConnectProvider", Url=BASE, **audiences).text("OpenIDConnectProviderArn")
    url = BASE.removeprefix("https://")
    assert api(site, "PUT", f"/providers/oidc/{url}/settings", {"settings": {"static_jwks": jwks}}).status == 200
    condition = {"StringLike": {f"{url}:sub": "*"}}
    trust = {"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}
    role = site.role("own-provider", document(trust))
    for kind in KINDS:
        params = {"RoleArn": role, "WebIdentityToken": world.tokens[kind], "RoleSessionName": "ann"}
        answer = site.send("POST", body=form("AssumeRoleWithWebIdentity", params))
        denied(world, kind, answer, world.tokens[kind])
    site.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)


def encrypted(world: World) -> dict[str, str]:
    """The access token, encrypted to a published key of the server: a JWE where a JWS is expected."""
    text = world.tokens["access token"]
    ec, rsa = (ECKey.import_key(bare(world.keys["ES256"])), RSAKey.import_key(bare(world.keys["RS256"])))
    payload = json.dumps(part(text, 1)).encode()
    found = {}
    for name, key, alg in (("ECDH", ec, "ECDH-ES"), ("RSA", rsa, "RSA-OAEP")):
        head = {"alg": alg, "enc": "A128GCM", "typ": "at+jwt"}
        found[f"JWE {name} of the claims"] = jwe.encrypt_compact(head, payload, key)
        found[f"JWE {name} of the token"] = jwe.encrypt_compact({**head, "cty": "JWT"}, text.encode(), key)
    return found


def bare(jwk: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in ("alg", "use", "key_ops")}


def unsigned(world: World) -> dict[str, str]:
    """The access token without a signature, with a MAC by what is public, and of a type that it has not."""
    text = world.tokens["access token"]
    head, claims = part(text, 0), text.split(".")[1]
    found = {}
    for alg in ("none", "None", "NONE", ""):
        found[f"alg {alg!r}"] = f"{b64(json.dumps({**head, 'alg': alg}).encode())}.{claims}."
        found[f"alg {alg!r} with a signature"] = f"{b64(json.dumps({**head, 'alg': alg}).encode())}.{claims}.AAAA"
    jwk = world.keys["ES256"]
    pem = ECKey.import_key(bare(jwk)).as_pem(private=False)
    secrets = {"PEM": pem, "JWK": json.dumps(jwk).encode(), "x": jwk["x"].encode(), "kid": jwk["kid"].encode()}
    for alg, digest in (("HS256", "sha256"), ("HS512", "sha512")):
        for name, secret in secrets.items():
            signed = f"{b64(json.dumps({**head, 'alg': alg}).encode())}.{claims}"
            found[f"{alg} by the {name}"] = f"{signed}.{b64(hmac.digest(secret, signed.encode(), digest))}"
    for change in (
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"crit": ["exp"]},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"b64": False},
    ):
        rest = text.partition(".")[2]
        found[f"{change}"] = f"{b64(json.dumps({**head, **change}).encode())}.{rest}"
    flattened = {"protected": text.split(".")[0], "payload": claims, "signature": text.split(".")[2]}
    return {**found, "JSON serialization": json.dumps(flattened), "two tokens": f"{text}.{text}"}


@pytest.mark.parametrize("forge", [encrypted, unsigned])
def test_a170_encrypted_and_unsigned_tokens_are_refused(world: World, forge: Callable[[World], dict[str, str]]) -> None:
    places = world.places()
    for name, text in forge(world).items():
        for place in BELONGS["access token"] | {"jwt bearer", "client assertion", "dpop proof"}:
            denied(world, f"{name} as {place}", places[place](text), text)


def test_a170_record_and_log_hold_no_token(world: World) -> None:
    for kind in KINDS:
        world.places()["subject jwt"](world.tokens[kind])
    kept = b"\n".join(world.site.record_bytes()) + world.site.log.getvalue().encode()
    for text in world.tokens.values():
        assert text.rpartition(".")[2].encode() not in kept
        assert hashlib.sha256(text.encode()).hexdigest().encode() not in kept


# --- Audiences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "audience",
    [
        [BASE],
        [BASE, "https://evil.example"],
        ["https://evil.example"],
        [[BASE]],
        {BASE: True},
        f"{BASE} https://evil.example",
        f"{BASE}/",
        f"{BASE}/oauth2/token",
        BASE.upper(),
        "*",
        [],
        "",
        None,
    ],
)
def test_a171_client_assertion_whose_only_audience_is_not_the_issuer_is_refused(world: World, audience: Any) -> None:
    text = world.client.assertion(aud=audience)
    denied(world, str(audience), world.places()["client assertion"](text), text)


def test_a171_token_for_several_audiences_is_not_one_for_this_server_by_its_first_alone(world: World) -> None:
    """A token is for every audience in its list and for no other: not for a part of one, nor for one that is alike."""
    own = {"subject_token": world.tokens["access token"], "subject_token_type": ACCESS_TOKEN}
    pairs = [("grant_type", EXCHANGE), *own.items(), *world.client.credentials().items()]
    both = given(token(world.site, [*pairs, ("audience", CLOUD), ("audience", BASE)]))["access_token"]
    assert part(both, 1)["aud"] == [CLOUD, BASE]
    assert world.places()["userinfo"](both).status == 200
    only = given(world.client.token(grant=EXCHANGE, audience=CLOUD, **own))["access_token"]
    for place in ("subject access_token", "introspection", "userinfo", "authzen", "streams"):
        denied(world, place, world.places()[place](only), only)
