"""Clients whose client_id is the URL of a metadata document: what is fetched, what is believed, what they may ask for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import BETA, ROOT_OF_BETA, Answer, Installation
from tests.browser import Browser, forms, query_of, refused, text
from tests.fake_network import FakeNetwork, http
from tests.issuer import compact, make_key, public_jwk
from tests.oauth import ISSUER, bearer, post, refusal, verified
from tests.oauth_client import ASSERTION, Client, api, register
from tests.sign_in import CALLBACK, CHALLENGE, VERIFIER, members, role_for, signed_in, user
from tests.sign_in_provider import net, site

__all__ = ["net", "site"]

URL = "https://agent.example.com/oauth/client.json"
RESOURCE = "https://mcp.example.com/mcp"


@pytest.fixture(scope="module")
def limits(site: Installation) -> Client:
    return register(
        site,
        token_endpoint_auth_method="none",
        grant_types=["authorization_code", "refresh_token"],
        metadata_documents=[URL, "https://tools.example.com/clients/*"],
        audiences=[RESOURCE, ISSUER],
        roles=["*"],
    )


@pytest.fixture(scope="module")
def name(site: Installation) -> str:
    return user(site)


@pytest.fixture
def person(site: Installation, limits: Client, name: str) -> Browser:
    """Signed in for each test: the clock moves between them."""
    del limits
    return signed_in(site, name)


@pytest.fixture(autouse=True)
def _fresh(site: Installation, net: FakeNetwork) -> None:
    """Each test fetches for itself: documents are cached for five minutes."""
    site.wall.time += 301_000
    publish(net)


def publish(
    net: FakeNetwork, url: str = URL, raw: bytes = b"", headers: dict[str, str] | None = None, **changes: Any
) -> None:
    document = {
        "client_id": url,
        "client_name": "Agent",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        **changes,
    }
    body = raw or {name: value for name, value in document.items() if value is not None}
    net.pages[url] = http(body, **(headers or {}))


def address(client_id: str = URL, **changes: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": RESOURCE,
        **changes,
    }
    return f"/oauth2/authorize?{urlencode({name: value for name, value in asked.items() if value})}"


def code_of(browser: Browser, target: str) -> str:
    page = browser.get(target)
    assert page.status == 200, page.body
    return query_of(browser.submit(page, "/oauth2/authorize/consent", decision="allow"))["code"]


def redeemed(site: Installation, code: str, client_id: str = URL, **more: str) -> Answer:
    sent = {"client_id": client_id, "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **more}
    return post(site, "/oauth2/token", [("grant_type", "authorization_code"), *sent.items()])


def test_client_with_a_document_gets_a_token_for_its_resource_that_allows_nothing_here(
    site: Installation, person: Browser
) -> None:
    page = person.get(address())
    assert "Agent (agent.example.com)" in text(page)
    assert URL in text(page)
    given = members(redeemed(site, code_of(person, address())))
    claims = verified(site, given["access_token"], RESOURCE)
    assert (claims["aud"], claims["client_id"]) == (RESOURCE, URL)
    refreshed = post(
        site,
        "/oauth2/token",
        [("grant_type", "refresh_token"), ("client_id", URL), ("refresh_token", given["refresh_token"])],
    )
    assert refreshed.status == 200, refreshed.body


def test_code_gives_a_token_for_a_consented_resource_only(site: Installation, person: Browser) -> None:
    refusal(site, redeemed(site, code_of(person, address()), resource=ISSUER), "invalid_target")
    given = members(redeemed(site, code_of(person, address()), resource=RESOURCE))
    assert verified(site, given["access_token"], RESOURCE)["aud"] == RESOURCE


def test_client_with_a_document_and_a_key_must_prove_it(site: Installation, net: FakeNetwork, person: Browser) -> None:
    key = make_key("ES256")
    publish(net, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public_jwk(key, kid="k1", alg="ES256")]})
    code = code_of(person, address())
    refusal(site, redeemed(site, code), "invalid_client", 401)
    now = site.wall.time // 1000
    claims = {"iss": URL, "sub": URL, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "once"}
    proof = {
        "client_assertion": compact({"alg": "ES256", "kid": "k1"}, claims, key, "ES256"),
        "client_assertion_type": ASSERTION,
    }
    assert redeemed(site, code, **proof).status == 200


def test_a14_document_is_fetched_only_for_people_of_an_account_that_lists_it(
    site: Installation, net: FakeNetwork, person: Browser
) -> None:
    before = len(net.asked)
    answer = Browser(site).get(address())
    assert answer.headers["location"].startswith("/login?next=%2Foauth2%2Fauthorize%3F")
    for other in (
        "https://evil.example.com/client.json",
        "https://agent.example.com/oauth/client.json/more",
        "https://tools.example.com/clients",
        "https://tools.example.com/clients/../admin/x.json",
        "https://tools.example.com/clients/%2e%2e/x.json",
        "https://tools.example.com/clients//x.json",
        "https://tools.example.com:8443/clients/x.json",
        "https://tools.example.com@evil.example.com/clients/x.json",
        "https://TOOLS.example.com/clients/x.json",
        "http://tools.example.com/clients/x.json",
        "https://tools.example.com/clients/x.json?y",
        "https://tools.example.com/clients/x.json#y",
    ):
        refused(site, person.get(address(other)), 400)
    stranger = signed_in(site, user(site, ROOT_OF_BETA), BETA)
    refused(site, stranger.get(address()), 400)
    for grant in ({"code": "A" * 43}, {"refresh_token": "dprt_x"}):
        refusal(
            site,
            post(site, "/oauth2/token", [("grant_type", "authorization_code"), ("client_id", URL), *grant.items()]),
            "invalid_client",
            401,
        )
    assert len(net.asked) == before


@pytest.mark.parametrize(
    "addresses",
    [
        *(["169.254.169.254"], ["10.0.0.1"], ["::1"], ["93.184.216.34", "127.0.0.1"]),
        *(["::ffff:127.0.0.1"], ["::ffff:169.254.169.254"], ["fe80::1"], ["64:ff9b::a9fe:a9fe"]),
    ],
)
def test_a14_document_in_a_private_network_is_not_connected_to(
    site: Installation, net: FakeNetwork, person: Browser, addresses: list[str]
) -> None:
    net.names["tools.example.com"] = addresses
    connected = len(net.connected)
    refused(site, person.get(address("https://tools.example.com/clients/inner.json")), 400)
    assert len(net.connected) == connected
    del net.names["tools.example.com"]
    site.wall.time += 11_000


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://agent.example.com/oauth/other.json"},
        {"client_id": f"{URL}/"},
        {"client_id": None},
        {"client_id": 7},
        {"client_secret": "s3cret"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
        {"redirect_uris": []},
        {"redirect_uris": "https://app.example/callback"},
        {"redirect_uris": ["http://app.example/callback"]},
        {"redirect_uris": ["https://app.example/callback#x"]},
        {"grant_types": ["client_credentials"]},
        {"client_name": {"en": "x"}},
        {"dpop_bound_access_tokens": "true"},
        {"raw": b"[]"},
        {"raw": b"{"},
        {"raw": b'{"client_id":"' + URL.encode() + b'","client_id":"' + URL.encode() + b'"}'},
        {"raw": b'{"client_id":"' + URL.encode() + b'","x":"' + b"y" * 20_000 + b'"}'},
        {"raw": b"[" * 1_000},
    ],
)
def test_a66_document_that_is_not_that_of_its_url_or_not_usable_is_refused(
    site: Installation, net: FakeNetwork, person: Browser, changes: dict[str, Any]
) -> None:
    publish(net, **changes)
    page = person.get(address())
    refused(site, page, 400)
    assert "location" not in page.headers


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a14_redirect_to_a_document_is_not_followed(
    site: Installation, net: FakeNetwork, person: Browser, status: str
) -> None:
    publish(net, "https://tools.example.com/clients/real.json")
    net.pages[URL] = http(b"", status, Location="https://tools.example.com/clients/real.json")
    before = len(net.asked)
    refused(site, person.get(address()), 400)
    assert net.asked[before:] == [URL]


def test_a14_document_of_ten_megabytes_is_refused(site: Installation, net: FakeNetwork, person: Browser) -> None:
    publish(net, raw=b'{"client_id":"' + URL.encode() + b'","x":"' + b"y" * 10_000_000 + b'"}')
    answer = person.get(address())
    refused(site, answer, 400)
    (record,) = (found for found in site.records(answer.request_id) if found.get("error"))
    assert "bytes" in record["detail"]["private"]["document"]


def test_a66_redirect_uri_that_the_document_does_not_list_is_refused_on_a_page(
    site: Installation, person: Browser
) -> None:
    for uri in ("https://app.example/other", "https://app.example/callback/", "https://evil.example/callback"):
        page = person.get(address(redirect_uri=uri))
        refused(site, page, 400)
        assert "location" not in page.headers


def test_document_is_cached_for_its_time_and_not_longer(site: Installation, net: FakeNetwork, person: Browser) -> None:
    publish(net, headers={"cache_control": "max-age=60"})
    fetched = net.asked.count(URL)
    for _ in range(3):
        assert person.get(address()).status == 200
    assert net.asked.count(URL) == fetched + 1
    publish(net, redirect_uris=["https://app.example/moved"])
    assert person.get(address()).status == 200
    site.wall.time += 61_000
    refused(site, person.get(address()), 400)  # an old address of the client is worth nothing


def test_cached_failure_is_not_asked_for_again_at_once_and_never_used_as_a_document(
    site: Installation, net: FakeNetwork, person: Browser
) -> None:
    net.pages[URL] = http(b"<html>", "200 OK", "text/html")
    fetched = net.asked.count(URL)
    for _ in range(3):
        refused(site, person.get(address()), 400)
    assert net.asked.count(URL) == fetched + 1
    publish(net)
    site.wall.time += 11_000
    assert person.get(address()).status == 200


def test_cached_document_of_one_url_serves_no_other(site: Installation, net: FakeNetwork, person: Browser) -> None:
    first, second = (f"https://tools.example.com/clients/{name}.json" for name in ("first", "second"))
    publish(net, first, client_name="First")
    publish(net, second, client_name="Second", redirect_uris=["https://second.example/back"])
    assert "First (tools.example.com)" in text(person.get(address(first)))
    refused(site, person.get(address(second)), 400)
    code = code_of(person, address(first))
    refusal(site, redeemed(site, code, second), "invalid_grant")
    refusal(site, redeemed(site, code), "invalid_grant")


def test_client_with_a_document_is_limited_by_the_client_that_lists_it(
    site: Installation, net: FakeNetwork, person: Browser, limits: Client
) -> None:
    publish(net, audiences=["https://other.example"], roles=["*"], scope="admin", fapi_exceptions=["bearer_tokens"])
    assert query_of(person.get(address(resource="https://other.example")))["error"] == "invalid_target"
    foreign = f"arn:aws:iam::{BETA}:role/any"
    back = query_of(person.get(address(role=foreign)))
    assert back["error"] == "invalid_authorization_details"
    disabled = api(site, "PUT", limits.path, {"enabled": False})
    assert disabled.status == 200
    try:
        refused(site, person.get(address()), 400)
    finally:
        assert api(site, "PUT", limits.path, {"enabled": True}).status == 200


def test_role_of_a_client_with_a_document_is_decided_by_its_trust_policy(site: Installation, person: Browser) -> None:
    role = role_for(site, "for-agents")
    given = redeemed(site, code_of(person, address(role=role)))
    refusal(site, given, "invalid_grant")  # the person's own policies do not allow it


def test_client_that_lists_documents_is_no_client_itself(site: Installation, limits: Client, person: Browser) -> None:
    refused(site, person.get(address(limits.id)), 400)
    refusal(site, redeemed(site, "A" * 43, limits.id), "invalid_grant")


@pytest.mark.parametrize(
    "settings",
    [
        {"metadata_documents": ["https://*"]},
        {"metadata_documents": ["https://tools.example.com"]},
        {"metadata_documents": ["https://tools.example.com*"]},
        {"metadata_documents": ["http://tools.example.com/*"]},
        {"metadata_documents": ["https://tools.example.com/a/../*"]},
        {"metadata_documents": [URL], "redirect_uris": [CALLBACK]},
        {"metadata_documents": [URL], "grant_types": ["client_credentials"]},
        {"metadata_documents": [URL], "token_endpoint_auth_method": "client_secret_basic"},
    ],
)
def test_allow_list_with_an_unusable_entry_is_refused(site: Installation, settings: dict[str, Any]) -> None:
    body = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"], **settings}
    assert api(site, "POST", "/clients", {"name": "x", "settings": body}).status == 400


def test_withdrawn_page_is_not_the_consent_to_a_changed_document(
    site: Installation, net: FakeNetwork, person: Browser
) -> None:
    page = person.get(address())
    query_of(
        person.post(
            "/oauth2/authorize/consent",
            {**forms(page)["/oauth2/authorize/consent"].fields, "decision": "allow", "remember": "yes"},
        )
    )
    assert person.get(address()).status == 303
    publish(net, redirect_uris=[CALLBACK, "https://app.example/more"])
    site.wall.time += 301_000
    assert person.get(address()).status == 200


def test_a220_grant_of_one_account_is_not_renewed_by_a_code_of_another(
    site: Installation, net: FakeNetwork, person: Browser, limits: Client
) -> None:
    """Both accounts list the application. The first one stops it; the settings of the other one must not apply."""
    shared = "https://tools.example.com/clients/shared.json"
    publish(net, shared)
    held = members(redeemed(site, code_of(person, address(shared)), shared))["refresh_token"]
    lists = {"metadata_documents": [shared], "audiences": [RESOURCE, ISSUER]}
    grants = ["authorization_code", "refresh_token"]
    register(site, key=ROOT_OF_BETA, token_endpoint_auth_method="none", grant_types=grants, **lists)
    stranger = signed_in(site, user(site, ROOT_OF_BETA), BETA)
    code = code_of(stranger, address(shared))
    assert api(site, "PUT", limits.path, {"enabled": False}).status == 200
    try:
        renewing = {"grant_type": "refresh_token", "client_id": shared, "refresh_token": held}
        others: tuple[dict[str, str], ...] = ({}, {"code": code}, {"token": code}, {"code": code, "token": held})
        for more in others:
            refusal(site, post(site, "/oauth2/token", {**renewing, **more}), "invalid_client", 401)
    finally:
        assert api(site, "PUT", limits.path, {"enabled": True}).status == 200


def test_client_with_a_document_revokes_its_access_token(site: Installation, person: Browser) -> None:
    given = members(redeemed(site, code_of(person, address(resource=ISSUER, prompt="consent"))))
    own = bearer(given["access_token"])
    assert site.send("GET", [own], path=b"/oauth2/userinfo").status == 200
    altered = given["access_token"][:-4] + "AAAA"
    refusal(site, post(site, "/oauth2/revoke", {"client_id": URL, "token": altered}), "invalid_client", 401)
    assert post(site, "/oauth2/revoke", {"client_id": URL, "token": given["access_token"]}).status == 200
    assert site.send("GET", [own], path=b"/oauth2/userinfo").status == 401


def test_a302_page_reads_a_token_of_a_client_with_a_document_only_at_an_origin_that_it_lists_now(
    site: Installation, net: FakeNetwork, person: Browser
) -> None:
    def reader(origin: str) -> str:
        code = code_of(person, address(prompt="consent"))
        sent = {"grant_type": "authorization_code", "client_id": URL, "code": code, "code_verifier": VERIFIER}
        answer = post(site, "/oauth2/token", {**sent, "redirect_uri": CALLBACK}, (b"origin", origin.encode()))
        assert answer.status == 200, answer.body
        return answer.headers.get("access-control-allow-origin", "")

    publish(net, redirect_uris=[CALLBACK, "https://second.example/cb"])
    assert reader("https://second.example") == "https://second.example"
    for other in ("https://agent.example.com", "https://mcp.example.com", "null"):
        assert reader(other) == ""
    publish(net)
    site.wall.time += 301_000
    assert reader("https://second.example") == ""


@pytest.mark.parametrize("where", ["document", "limits"])
@pytest.mark.parametrize(
    ("setting", "code", "status"),
    [
        ("dpop_bound_access_tokens", "invalid_dpop_proof", 400),
        ("tls_client_certificate_bound_access_tokens", "invalid_client", 401),
    ],
)
def test_a75_client_with_a_document_gets_bound_tokens_if_it_or_its_account_asks_for_them(
    site: Installation,
    net: FakeNetwork,
    person: Browser,
    limits: Client,
    where: str,
    setting: str,
    code: str,
    status: int,
) -> None:
    if where == "document":
        publish(net, **{setting: True})
        answer = redeemed(site, code_of(person, address(prompt="consent")))
    else:
        limits.put(**{setting: True})
        answer = redeemed(site, code_of(person, address(prompt="consent")))
        limits.put(**{setting: False})
    refusal(site, answer, code, status)
