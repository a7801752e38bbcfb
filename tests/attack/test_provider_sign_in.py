"""Hostile identity providers, and attackers between a person and a provider, against the sign-in by browser."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from tests.attack.installation import Answer, Installation
from tests.browser import Browser, refused
from tests.fake_network import FakeNetwork, http
from tests.oauth import given, post
from tests.oauth_client import DpopKey
from tests.sign_in import CHALLENGE, VERIFIER, allowed, members, web_client
from tests.sign_in_provider import Person, Provider, came_back, net, site, started

__all__ = ["net", "site"]

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def honest(site: Installation, net: FakeNetwork) -> Provider:
    made = Provider(site, net, "honest.example.com")
    return made.registered(made.role("honest"))


@pytest.fixture(scope="module")
def hostile(site: Installation, net: FakeNetwork) -> Provider:
    made = Provider(site, net, "hostile.example.com", {"authorization_response_iss_parameter_supported": False})
    return made.registered(made.role("hostile"))


def denied(site: Installation, browser: Browser, answer: Answer, reason: str, status: int = 400) -> None:
    """The answer is a page of a refusal for this reason, and nobody is signed in."""
    record = refused(site, answer, status)
    assert record["detail"]["private"]["reason"] == reason, record["detail"]
    assert reason not in answer.body.decode()
    assert browser.get("/account").status == 303


def changed(address: str, **parameters: str) -> str:
    parts = urlsplit(address)
    query = {**dict(parse_qsl(parts.query)), **parameters}
    return f"{parts.path}?{urlencode({name: value for name, value in query.items() if value})}"


def test_a68_mix_up_code_of_an_honest_provider_never_reaches_a_hostile_token_endpoint(
    site: Installation, honest: Provider, hostile: Provider
) -> None:
    browser = Browser(site)
    address = started(browser, hostile)
    sent_on = dict(parse_qsl(urlsplit(address).query))  # the hostile provider takes the person to the honest one
    forwarded = {**sent_on, "client_id": honest.client_id}
    registered = urlsplit(dict(parse_qsl(urlsplit(started(Browser(site), honest)).query))["redirect_uri"])
    forwarded["redirect_uri"] = registered.geturl()  # the only one that the honest provider knows
    back = honest.answer_to(f"https://honest.example.com/authorize?{urlencode(forwarded)}", Person())
    denied(site, browser, browser.get(back), "mix-up: path")
    forwarded["redirect_uri"] = sent_on["redirect_uri"]
    back = honest.answer_to(f"https://honest.example.com/authorize?{urlencode(forwarded)}", Person())
    denied(site, browser, browser.get(back), "mix-up: iss")
    assert hostile.redeemed == []


@pytest.mark.parametrize(
    "issuer", ["", "https://honest.example.com/", "https://HONEST.example.com", "https://evil.example"]
)
def test_a68_response_without_the_exact_issuer_is_refused(site: Installation, honest: Provider, issuer: str) -> None:
    browser = Browser(site)
    denied(site, browser, came_back(browser, honest, Person(response={"iss": issuer})), "mix-up: iss")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "another"}, "the ID token has another nonce"),
        ({"nonce": None}, "the ID token has another nonce"),
        ({"aud": "another"}, "the ID token is for another client"),
        ({"aud": ["daypass-web", "another"]}, "the ID token is for another client"),
        ({"aud": ["daypass-web", "another"], "azp": "another"}, "the ID token is for another client"),
        ({"azp": "another"}, "the ID token is for another client"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "at_hash is not that of the access token"),
        ({"at_hash": 7}, "at_hash is not that of the access token"),
    ],
)
def test_a68_id_token_of_another_client_sign_in_or_access_token_is_refused(
    site: Installation, honest: Provider, claims: dict[str, Any], reason: str
) -> None:
    browser = Browser(site)
    denied(site, browser, came_back(browser, honest, Person(claims=claims)), reason)


def test_a68_multiple_audiences_are_accepted_for_the_authorized_party(site: Installation, honest: Provider) -> None:
    claims = {"aud": ["daypass-web", "another"], "azp": "daypass-web"}
    assert came_back(Browser(site), honest, Person(claims=claims)).status == 303


def test_a68_id_token_of_another_provider_of_the_account_is_refused(
    site: Installation, honest: Provider, hostile: Provider
) -> None:
    browser = Browser(site)
    own, hostile.issuer = hostile.issuer, honest.issuer  # a stolen token of the honest one, at the hostile one
    try:
        denied(site, browser, came_back(browser, hostile), "the ID token is of another provider")
    finally:
        hostile.issuer = own


def test_a70_code_of_the_attacker_in_the_browser_of_a_victim_is_refused(site: Installation, honest: Provider) -> None:
    attacker, victim = Browser(site), Browser(site)
    own = honest.answer_to(started(attacker, honest), Person("mallory"))
    denied(site, victim, victim.get(own), "state")  # login CSRF: the attacker's whole answer
    address = started(victim, honest)
    stolen = dict(parse_qsl(urlsplit(own).query))["code"]
    injected = changed(honest.answer_to(address, Person()), code=stolen)
    answer = victim.get(injected)  # PKCE: the provider refuses the verifier of another sign-in
    assert refused(site, answer, 400)["detail"]["private"]["sign_in"] == "the answer has the status 400"
    assert victim.get("/account").status == 303


def test_a70_answer_that_was_used_signs_nobody_in_again(site: Installation, honest: Provider) -> None:
    browser = Browser(site)
    answer = honest.answer_to(started(browser, honest), Person())
    cookies = dict(browser.cookies)
    code = dict(parse_qsl(urlsplit(answer).query))["code"]
    asked = honest.codes[code]
    assert browser.get(answer).status == 303
    again = Browser(site, cookies=cookies)
    honest.codes[code] = asked  # a provider that lets a code be used twice
    denied(site, again, again.get(answer), "replay")


def test_a88_cookie_known_before_the_sign_in_is_worth_nothing_after_it(site: Installation, honest: Provider) -> None:
    browser = Browser(site)
    address = started(browser, honest)
    planted = Browser(site, cookies=dict(browser.cookies))
    assert browser.get(honest.answer_to(address, Person())).status == 303
    assert planted.get("/account").status == 303
    assert browser.get("/account").status == 200


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb: c"])
def test_a88_return_address_of_another_origin_is_replaced(site: Installation, honest: Provider, following: str) -> None:
    answer = came_back(Browser(site), honest, following=following)
    assert answer.headers["location"] == "/console/"


def test_a68_error_of_a_provider_is_shown_as_a_code_alone(site: Installation, honest: Provider) -> None:
    browser = Browser(site)
    person = Person(response={"code": "", "error": "<script>", "error_description": "call +1 555 0100"})
    answer = came_back(browser, honest, person)
    denied(site, browser, answer, "provider's error", 403)
    assert b"555" not in answer.body
    assert b"<script>" not in answer.body


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://honest.example.com"},
        {"authorization_endpoint": "http://discovery.example.com/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "https://user@discovery.example.com/token"},
        {"token_endpoint": 7},
    ],
)
def test_a14_discovery_document_of_another_issuer_or_with_unusable_endpoints_is_refused(
    site: Installation, net: FakeNetwork, changes: dict[str, Any]
) -> None:
    url = "discovery.example.com"
    made = Provider(site, net, url, changes)
    if f"{url}" not in str(site.iam("ListOpenIDConnectProviders").body):
        made.registered(made.role("discovery"))
    site.wall.time += 20_000  # a failure is cached for ten seconds
    answer = Browser(site).get(f"/login/provider?provider={made.arn}")
    refused(site, answer, 400)


def test_a14_token_endpoint_in_a_private_network_is_not_connected_to(site: Installation, net: FakeNetwork) -> None:
    made = Provider(site, net, "inner.example.com", {"token_endpoint": "https://metadata.internal/token"})
    made.registered(made.role("inner"))
    net.names["metadata.internal"] = ["169.254.169.254"]
    browser = Browser(site)
    refused(site, came_back(browser, made), 400)
    assert ("169.254.169.254", 443, "metadata.internal") not in net.connected
    assert all(host != "metadata.internal" for _, _, host in net.connected)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"id_token": 7}',
        b'{"id_token": "a.b.c"}',
        b'{"id_token": "' + b"x" * 70_000 + b'"}',
        b"," * 9_000,
    ],
)
def test_a49_unusable_answer_of_a_token_endpoint_is_refused(
    site: Installation, net: FakeNetwork, honest: Provider, body: bytes
) -> None:
    endpoint = f"https://{honest.url}/token"
    net.pages[endpoint] = http(body)
    try:
        browser = Browser(site)
        refused(site, came_back(browser, honest), 400)
    finally:
        net.pages[endpoint] = honest.token


def test_a89_provider_of_another_account_in_state_or_address_is_not_found(site: Installation, honest: Provider) -> None:
    foreign = honest.arn.replace("111122223333", "999988887777")
    assert Browser(site).get(f"/login/provider?{urlencode({'provider': foreign})}").status == 404
    unset = replace(honest, url="unset.example.com")
    site.iam("CreateOpenIDConnectProvider", **{"Url": f"https://{unset.url}", "ClientIDList.member.1": "ci"})
    assert Browser(site).get(f"/login/provider?{urlencode({'provider': unset.arn})}").status == 404


def test_a256_wrong_device_codes_of_one_person_do_not_count_for_others_of_the_same_role(
    site: Installation, honest: Provider
) -> None:
    client = web_client(site, grant_types=[DEVICE], redirect_uris=[])
    codes = given(post(site, "/oauth2/device_authorization", {"client_id": client.id, "scope": "openid"}))
    guesser, person = Browser(site), Browser(site)
    came_back(guesser, honest, Person("guesser"))
    came_back(person, honest, Person("ann"))
    page = guesser.get("/device")
    answers = [guesser.submit(page, "/device/code", user_code=f"BBBBBBB{last}").status for last in "BCDFGH"]
    assert answers == [404, 404, 404, 404, 404, 429]
    assert guesser.submit(page, "/device/code", user_code=codes["user_code"]).status == 429
    assert person.submit(person.get("/device"), "/device/code", user_code=codes["user_code"]).status == 200


def aws_login(site: Installation, provider: Provider, subject: str) -> dict[str, Any]:
    """`aws login` of a person of the provider: the answer to its tool."""
    browser, key = Browser(site), DpopKey(site)
    came_back(browser, provider, Person(subject))
    tool = {
        "client_id": "arn:aws:signin:::devtools/same-device",
        "redirect_uri": "http://127.0.0.1:49153/oauth/callback",
    }
    page = {"response_type": "code", "scope": "openid", "state": "s" * 32, "code_challenge": CHALLENGE}
    address = browser.get(f"/v1/authorize?{urlencode({**page, **tool, 'code_challenge_method': 'SHA-256'})}")
    code = allowed(browser, address.headers["location"])["code"]
    sent = {"clientId": tool["client_id"], "grantType": "authorization_code", "redirectUri": tool["redirect_uri"]}
    body = json.dumps({**sent, "code": code, "codeVerifier": VERIFIER}).encode()
    headers = [(b"content-type", b"application/json"), key.header("/v1/token")]
    return members(site.send("POST", headers, body, path=b"/v1/token"))


def test_a548_person_of_a_provider_sees_and_ends_own_sign_ins_alone_though_others_share_the_role(
    site: Installation, net: FakeNetwork
) -> None:
    shared = Provider(site, net, "shared.example.com")
    shared.registered(shared.role("shared"))
    keys = {}
    for subject in ("ann", "bob"):
        keys[subject] = tuple(aws_login(site, shared, subject)["accessToken"].values())

    def ask(who: str, path: str, **values: Any) -> dict[str, Any]:
        body = json.dumps(values).encode()
        headers = site.signed(keys[who], body, "signin", path=path, extra={"content-type": "application/json"})
        return members(site.send("POST", headers, body, path=path.encode()))

    seen = {who: [each["sessionArn"] for each in ask(who, "/list-sessions")["items"]] for who in keys}
    assert [len(each) for each in seen.values()] == [1, 1]
    assert seen["ann"] != seen["bob"]
    assert ask("bob", "/get-session", sessionArn=seen["ann"][0])["error"] == "RESOURCE_NOT_FOUND"
    assert ask("bob", "/batch-revoke-sessions", sessionArns=seen["ann"])["revokedSessions"] == []
    assert ask("ann", "/batch-revoke-sessions", sessionArns=seen["ann"])["revokedSessions"] != []
