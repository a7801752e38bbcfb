"""Settings and keys of providers, and the allow-list, by the management API: what is taken, shown, and kept secret."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.fake_network import FakeNetwork, http
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Server, policy
from tests.issuer import Issuer, number

from daypass.domain.claims import secret_owner
from daypass.domain.directory import OidcProvider
from daypass.domain.provider_settings import SECRETS, parse_settings
from daypass.operations import providers

URL = "ci.example.com/a"
PATH = "/providers/oidc/ci.example.com/a/settings"
KEYS = "/providers/oidc/ci.example.com/a/keys"
SECRET = "s3cret-canary-bearer"


@pytest.fixture
async def issuer(server: Server) -> Issuer:
    """A provider in each account, and the issuer behind it."""
    now = server.runtime.clock.now()
    for account in (OPERATOR, TENANT):
        await server.write(OidcProvider(account, URL, now, ("daypass",)))
    made = Issuer(URL, alg="ES256")
    network = FakeNetwork(
        {
            f"https://{URL}/.well-known/openid-configuration": http(made.discovery()),
            f"https://{URL}/jwks": http(made.jwks()),
        }
    )
    server.runtime.issuers._getter.fetcher._network = network
    return made


async def put(server: Server, key: Any = TENANT_ROOT, **settings: Any) -> Any:
    return await server.api(key, "PUT", PATH, body={"settings": settings})


async def stored(server: Server, account: str = TENANT) -> OidcProvider:
    found = await server.runtime.directory.entity(OidcProvider, account, URL)
    assert found is not None
    return found


async def test_settings_are_written_and_read_by_url_and_arn(server: Server, issuer: Issuer) -> None:
    answer = await put(server, leeway_seconds=5, tag_claims={"ref": "branch"}, static_jwks=issuer.jwks())
    assert answer.status == 200, answer.body
    assert answer.json["settings"]["leeway_seconds"] == 5
    arn = answer.json["arn"]
    for name in (URL, f"https://{URL}", arn):
        again = await server.api(TENANT_ROOT, "GET", f"/providers/oidc/{name}/settings")
        assert again.json == answer.json
    listed = await server.api(TENANT_ROOT, "GET", "/providers/oidc")
    assert [provider["arn"] for provider in listed.json["providers"]] == [arn]
    assert "settings" not in listed.json["providers"][0]  # those are for who may read each provider
    assert (await put(server)).json["settings"] == {}


def rsa(bits: int, exponent: int) -> dict[str, str]:
    """A public key of this size; nobody has its private key."""
    return {"kty": "RSA", "kid": "k", "n": number((1 << bits) - 1), "e": number(exponent)}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"leeway": 5}, "leeway: unknown setting"),
    ({"leeway_seconds": True}, "whole number"),
    ({"leeway_seconds": 1.5}, "whole number"),
    ({"algorithms": ["none"]}, "'none' is none of"),
    ({"algorithms": ["HS256"]}, "'HS256' is none of"),
    ({"static_jwks": {"keys": []}}, "static_jwks: none of its keys"),
    ({"static_jwks": {"keys": [{"kty": "oct"}]}}, "none of its keys"),
    ({"static_jwks": {"keys": [rsa(2048, 3)]}}, "static_jwks: key 'k' is an RSA key with a public exponent of 2 bits"),
    ({"static_jwks": {"keys": [rsa(16_384, 65_537)]}}, "an RSA key of 16384 bits; 2048 to 8192 are accepted"),
    ({"static_jwks": {"keys": [rsa(1024, 65_537)]}}, "an RSA key of 1024 bits"),
    (
        {"static_jwks": {"keys": [rsa(2048, 65_537), {"kty": "RSA", "n": "!", "e": "AQAB"}]}},
        "key 2 is an RSA key whose",
    ),
    ({"static_jwks": {"keys": [{"kty": "RSA", "n": "AQAB"}]}}, "whose n or e is not a number"),
    ({"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "ca_pem: not a PEM"),
    ({"ca_pem": "é"}, "ca_pem: not a PEM"),
    ({"jwks_url": "http://ci.example.com/jwks"}, "https:// is expected"),
    ({"jwks_url": "https://user@ci.example.com/jwks"}, "not an https URL"),
    ({"jwks_bearer": "a b"}, "a token of at most"),
    ({"jwks_bearer": 7}, "a token of at most"),
    ({"jwks_bearer": "***"}, "give it again"),
    ({"token_review": {"url": "https://k8s.example.com", "bearer": "***"}}, "give it again"),
    ({"token_review": {"bearer": "x"}}, "url: it is missing"),
    ({"token_review": []}, "object is expected"),
]


async def test_settings_that_are_wrong_are_refused_by_member(server: Server, issuer: Issuer) -> None:
    before = await stored(server)
    for settings, says in WRONG:
        body = json.dumps({"settings": settings}).encode()
        answer = await server.api(TENANT_ROOT, "PUT", PATH, body=body)
        assert (answer.status, answer.code) == (400, "ValidationError"), settings
        assert says in answer.json["error"]["message"]
    assert await stored(server) == before


REACHING: list[dict[str, Any]] = [
    {"allow_private_networks": True},
    {"allow_http": True},
    {"jwks_file": "jwks.json"},
    {"jwks_bearer_file": "token", "jwks_url": "https://attacker.example.net/"},
    {"token_review": {"url": "https://attacker.example.net", "bearer_file": "token"}},
]


async def test_account_cannot_make_the_server_reach_what_it_cannot(server: Server, issuer: Issuer) -> None:
    for settings in REACHING:
        answer = await put(server, **settings)
        assert (answer.status, answer.code) == (403, "AccessDenied"), settings
        assert "operator" in answer.json["error"]["message"]
    assert (await stored(server)).settings == "{}"


async def test_operator_sets_what_reaches_far_and_the_account_may_change_the_rest_only(
    server: Server, issuer: Issuer
) -> None:
    answer = await server.api(
        ROOT,
        "PUT",
        PATH,
        {"account": TENANT},
        {"settings": {"jwks_url": "https://10.0.0.1/", "allow_private_networks": True}},
    )
    assert answer.status == 200, answer.body
    kept = {"jwks_url": "https://10.0.0.1/", "allow_private_networks": True}
    assert (await put(server, **kept, leeway_seconds=7)).status == 200
    assert (await put(server, **{**kept, "jwks_url": "https://169.254.169.254/"})).code == "AccessDenied"
    assert (await put(server, **{**kept, "issuer": "http://10.0.0.2"})).code == "AccessDenied"
    assert (await put(server, leeway_seconds=7)).status == 200  # giving it up needs no permission


async def test_secret_is_sealed_never_shown_and_kept_for_the_same_address_only(server: Server, issuer: Issuer) -> None:
    url = "https://keys.example.net/jwks"
    answer = await put(server, jwks_url=url, jwks_bearer=SECRET)
    assert answer.json["settings"] == {"jwks_url": url, "jwks_bearer": "***"}
    sealed = parse_settings((await stored(server)).settings).jwks_bearer
    assert SECRET not in sealed
    opened = server.runtime.env.sealer.open_secret(base64.b64decode(sealed), TENANT, secret_owner(URL, "jwks_bearer"))
    assert opened.decode() == SECRET
    assert (await put(server, jwks_url=url, jwks_bearer="***", leeway_seconds=1)).status == 200
    assert parse_settings((await stored(server)).settings).jwks_bearer == sealed
    moved = await put(server, jwks_url="https://attacker.example.net/", jwks_bearer="***")
    assert moved.code == "ValidationError"
    network = server.runtime.issuers._getter.fetcher._network
    network.pages[url] = http(issuer.jwks())
    assert (await server.api(TENANT_ROOT, "GET", KEYS)).json["keys"][0]["kid"] == "key-1"
    assert f"bearer {SECRET}".encode() in network.requests[-1].lower()
    records = (await server.api(ROOT, "GET", "/audit/records", {"account": "*", "limit": 100})).body
    assert SECRET.encode() not in records
    assert sealed.encode() not in records
    review = {"url": "https://k8s.example.com:6443", "bearer": SECRET}
    answer = await put(server, token_review=review)
    assert answer.json["settings"]["token_review"]["bearer"] == "***"
    kept = {**review, "bearer": "***"}
    assert (await put(server, token_review={**kept, "cache_seconds": 1})).status == 200
    assert (await put(server, token_review={**kept, "url": "https://evil.example.com"})).code == "ValidationError"


async def test_keys_show_what_an_operator_needs(server: Server, issuer: Issuer) -> None:
    found = (await server.api(TENANT_ROOT, "GET", KEYS)).json
    assert found["kind"] == "discovery"
    assert [key["kid"] for key in found["keys"]] == ["key-1"]
    assert found["error"] == ""
    assert found["fetched_at"] < found["due_at"] < found["usable_until"]
    server.runtime.issuers._getter.fetcher._network.pages = {}
    await put(server, jwks_url="https://gone.example.com/")
    failed = (await server.api(TENANT_ROOT, "POST", KEYS + "/refresh")).json
    assert (failed["keys"], failed["error"]) == ([], "the answer has the status 404")
    assert (await server.api(TENANT_ROOT, "GET", "/providers/oidc/nobody.example.com/keys")).code == "NoSuchEntity"
    assert b"daypass_issuers_failing 1.0" in server.runtime.render_metrics()
    assert b'daypass_issuer_fetches_total{outcome="status"} 1.0' in server.runtime.render_metrics()


async def test_fetched_keys_are_on_the_record_and_in_the_database(server: Server, issuer: Issuer) -> None:
    await server.api(TENANT_ROOT, "GET", KEYS)
    for task in list(server.runtime.issuers._tasks):
        if "_save" in repr(task):
            await task
    found = await server.api(ROOT, "GET", "/audit/records", {"account": "*", "type": "issuer.keys"})
    [record] = found.json["records"]
    assert record["event"]["detail"]["kids"] == ["key-1"]


async def test_reading_needs_permission_and_other_accounts_are_closed(server: Server, issuer: Issuer) -> None:
    _, nobody = await server.user("nobody", TENANT)
    _, reader = await server.user("reader", TENANT, policy("daypass:GetProviderSettings"))
    assert (await server.api(nobody, "GET", PATH)).code == "AccessDenied"
    assert (await server.api(reader, "GET", PATH)).status == 200
    assert (await server.api(reader, "PUT", PATH, body={"settings": {}})).code == "AccessDenied"
    for path in (PATH, KEYS, "/providers/oidc", "/issuers/allowed"):
        assert (await server.api(TENANT_ROOT, "GET", path, {"account": OPERATOR})).code == "AccessDenied"
        assert (await server.api(ROOT, "GET", path, {"account": TENANT})).status == 200


async def test_allow_list_is_set_read_and_taken_away_and_takes_no_loose_entry(server: Server) -> None:
    path = "/issuers/allowed"
    assert (await server.api(TENANT_ROOT, "GET", path)).json["issuers"] is None
    wanted = ["gitlab.example.com", "oidc.example.com:8443/tenants/*"]
    answer = await server.api(TENANT_ROOT, "PUT", path, body={"issuers": wanted})
    assert answer.json["issuers"] == wanted
    assert (await server.api(TENANT_ROOT, "PUT", path, body={"issuers": []})).json["issuers"] == []
    assert (await server.api(TENANT_ROOT, "GET", path)).json["issuers"] == []
    assert (await server.api(TENANT_ROOT, "DELETE", path)).status == 204
    assert (await server.api(TENANT_ROOT, "GET", path)).json["issuers"] is None
    for entry in ("ci.example.com*", "*", "https://x", "", "a/*/b", "x y", "x\n", "-a", "é", "a/*/*"):
        answer = await server.api(TENANT_ROOT, "PUT", "/issuers/allowed", body={"issuers": [entry]})
        assert (answer.status, answer.code) == (400, "ValidationError"), entry


def test_every_secret_has_an_address_that_it_is_given_for() -> None:
    assert set(providers._GOES_TO) == SECRETS
