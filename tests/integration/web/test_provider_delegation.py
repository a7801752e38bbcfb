"""Parties that a provider's ID token names as acting for a person who signs in (`act`): no token of the person loses them."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from tests.attack.installation import Installation, document
from tests.browser import Browser
from tests.fake_network import FakeNetwork
from tests.oauth import EXCHANGE, ID_TOKEN, bearer, given, verified
from tests.oauth_client import Client, register
from tests.sign_in import CALLBACK, VERIFIER, allowed, members, target
from tests.sign_in_provider import Person, Provider, came_back, net, site

__all__ = ["net", "site"]

ELSEWHERE = "https://resource.test"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
SETTINGS = {
    "grant_types": ["authorization_code", "refresh_token", EXCHANGE],
    "redirect_uris": [CALLBACK],
    "roles": ["*"],
    "external_client_ids": {ELSEWHERE: "app-there"},
    "fapi_exceptions": ["bearer_tokens", "unpushed_requests"],
}


@pytest.fixture(scope="module")
def provider(site: Installation, net: FakeNetwork) -> Provider:
    made = Provider(site, net)
    staff = made.role("web-staff")
    policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*"})
    site.iam("PutRolePolicy", RoleName="web-staff", PolicyName="assert", PolicyDocument=policy)
    return made.registered(staff, name_claim="email")


def signed_in(site: Installation, provider: Provider, **claims: object) -> Browser:
    browser = Browser(site)
    assert came_back(browser, provider, Person(claims={"email": "ann@example.com", **claims})).status == 303
    return browser


def tokens(browser: Browser, client: Client) -> dict[str, Any]:
    code = allowed(browser, target(client))["code"]
    answer = client.token(grant="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)
    return members(answer)


def asserted(client: Client, text: str, kind: str) -> dict[str, Any]:
    """The claims of an identity assertion."""
    asked = {"requested_token_type": ID_JAG, "audience": ELSEWHERE}
    answer = client.token(grant=EXCHANGE, subject_token=text, subject_token_type=kind, **asked)
    return dict(jwt.decode(given(answer)["access_token"], options={"verify_signature": False}))


def test_a118_every_token_of_a_person_for_whom_another_acts_names_the_actor(
    site: Installation, provider: Provider
) -> None:
    act = {"sub": "support-1", "act": {"sub": "bot", "iss": "https://other.example"}}
    browser, client = signed_in(site, provider, act=act), register(site, **SETTINGS)
    got = tokens(browser, client)
    expected = {"sub": f"{provider.arn}:support-1", "act": {"sub": f"{provider.arn}:https://other.example#bot"}}
    assert verified(site, got["id_token"], client.id)["act"] == expected
    about = members(site.send("GET", [bearer(got["access_token"])], path=b"/oauth2/userinfo"))
    assert (about["act"], about["preferred_username"]) == (expected, "ann@example.com")
    assert asserted(client, got["id_token"], ID_TOKEN)["act"] == expected
    assert asserted(client, got["refresh_token"], REFRESH_TOKEN)["act"] == expected


def test_tokens_of_a_person_who_acts_alone_have_no_actor(site: Installation, provider: Provider) -> None:
    browser, client = signed_in(site, provider), register(site, **SETTINGS)
    got = tokens(browser, client)
    assert "act" not in verified(site, got["id_token"], client.id)
    assert "act" not in members(site.send("GET", [bearer(got["access_token"])], path=b"/oauth2/userinfo"))
    for text, kind in ((got["id_token"], ID_TOKEN), (got["refresh_token"], REFRESH_TOKEN)):
        assert "act" not in asserted(client, text, kind)


def test_a118_sign_in_by_a_token_with_may_act_is_refused(site: Installation, provider: Provider) -> None:
    answer = came_back(
        Browser(site), provider, Person(claims={"email": "ann@example.com", "may_act": {"sub": "support-1"}})
    )
    assert answer.status == 400
    (record,) = (found for found in site.records(answer.request_id) if found.get("error"))
    assert record["detail"]["private"]["reason"] == "may_act"


# --- Claims ----------------------------------------------------------------------------------------------------------


def test_claims_of_a_person_of_a_provider_are_those_of_its_token(site: Installation, provider: Provider) -> None:
    known = {"name": "Ann Lee", "email_verified": True, "groups": ["sre", "wiki"]}
    browser, client = signed_in(site, provider, **known), register(site, **SETTINGS)
    code = allowed(browser, target(client, scope="openid profile email groups"))["code"]
    answer = client.token(grant="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)
    response = given(answer)
    expected = {**known, "email": "ann@example.com"}
    claims = verified(site, response["id_token"], client.id)
    assert {name: claims.get(name) for name in expected} == expected
    about = members(site.send("GET", [bearer(response["access_token"])], path=b"/oauth2/userinfo"))
    assert {name: about.get(name) for name in expected} == expected
    browser.submit(browser.get("/oauth2/logout"), "/oauth2/logout/confirm")
    renewed = given(client.token(grant="refresh_token", refresh_token=response["refresh_token"]))
    later = verified(site, renewed["id_token"], client.id)
    assert {name: later.get(name) for name in expected} == expected
    gone = members(site.send("GET", [bearer(renewed["access_token"])], path=b"/oauth2/userinfo"))
    assert gone.keys().isdisjoint({"email", "groups"})  # UserInfo knows them while the browser is signed in
