"""Remembered consents: for exactly one request, listed, withdrawn; and the UserInfo endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, ROOT_OF_BETA, Answer, Installation
from tests.browser import BASE, Browser, forms, query_of, text
from tests.oauth import ACCESS_TOKEN, bearer, exchange, given, refusal, verified
from tests.oauth_client import Client, api
from tests.sign_in import (
    allowed,
    may_assume,
    members,
    redeemed,
    role_for,
    signed_in,
    site_with_pages,
    target,
    user,
    web_client,
)

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("consent"), sign_in={"consent_days": 1}) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    return web_client(site, audiences=[BASE, "https://a.example"])


@pytest.fixture
def name(site: Installation) -> str:
    return user(site)


@pytest.fixture
def browser(site: Installation, name: str) -> Browser:
    return signed_in(site, name)


def remembering(browser: Browser, address: str) -> dict[str, str]:
    page = browser.get(address)
    assert b'name="remember"' in page.body
    return query_of(browser.submit(page, "/oauth2/authorize/consent", decision="allow", remember="yes"))


def test_consent_is_asked_for_each_time_unless_the_person_asks_to_remember_it(browser: Browser, client: Client) -> None:
    allowed(browser, target(client))
    assert browser.get(target(client)).status == 200
    assert query_of(browser.get(target(client, prompt="none")))["error"] == "consent_required"


def test_remembered_consent_gives_codes_without_a_page_and_is_on_the_record(
    site: Installation, browser: Browser, client: Client
) -> None:
    remembering(browser, target(client))
    answer = browser.get(target(client))
    code = query_of(answer)["code"]
    assert redeemed(client, code).status == 200
    (record,) = site.records(answer.request_id)
    assert record["detail"]["consent"] == "remembered"
    assert "code" in query_of(browser.get(target(client, prompt="none")))
    assert browser.get(target(client, prompt="consent")).status == 200


def test_remembered_consent_is_for_exactly_that_request_person_and_time(
    site: Installation, browser: Browser, client: Client, name: str
) -> None:
    role = role_for(site, f"consent-{name}")
    remembering(browser, target(client, role=role))
    assert browser.get(target(client, role=role)).status == 303
    for other in (
        target(client),
        target(client, role=role, scope=""),
        target(client, role=role, audience="https://a.example"),
    ):
        assert browser.get(other).status == 200
    assert signed_in(site, user(site)).get(target(client, role=role)).status == 200
    site.wall.time += DAY_MS
    assert signed_in(site, name).get(target(client, role=role)).status == 200


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, "until the role's session ends"),
        (
            {"grant_types": ["authorization_code", "refresh_token"]},
            "can renew this without you for 1 day, also after you have signed out",
        ),
        (
            {"grant_types": ["authorization_code", "refresh_token"], "refresh_token_seconds": 604_800},
            "can renew this without you for 7 days, also after you have signed out",
        ),
    ],
)
def test_page_says_how_long_the_client_has_what_the_person_allows(
    site: Installation, browser: Browser, settings: dict[str, Any], shown: str
) -> None:
    page = text(browser.get(target(web_client(site, **settings), role=role_for(site, f"renewed-{len(str(settings))}"))))
    assert shown in page
    assert ("without you" in page) == bool(settings)


def test_remembered_consent_ends_with_a_change_of_the_client(site: Installation, browser: Browser) -> None:
    own = web_client(site)
    remembering(browser, target(own))
    site.wall.time += 1_000
    changed = api(site, "PUT", f"/clients/{own.id}", {"name": "other"})
    assert changed.status == 200, changed.body
    assert browser.get(target(own)).status == 200


def test_consent_of_a_loopback_or_private_use_redirect_uri_is_never_remembered(
    site: Installation, browser: Browser
) -> None:
    uris = ["http://127.0.0.1/back", "com.example.app:/back"]
    native = web_client(site, redirect_uris=uris)
    for uri in uris:
        address = target(native, redirect_uri=uri)
        page = browser.get(address)
        assert b'name="remember"' not in page.body
        browser.submit(page, "/oauth2/authorize/consent", decision="allow", remember="yes")
        assert browser.get(address).status == 200


def test_person_withdraws_a_consent_and_nobody_else_can(site: Installation, browser: Browser, client: Client) -> None:
    remembering(browser, target(client))
    page = browser.get("/account")
    assert client.id in text(page)
    identity = forms(page)["/account/withdraw"].fields["consent"]
    stranger = signed_in(site, user(site))
    remembering(stranger, target(client))
    own = stranger.get("/account")
    refused = stranger.submit(own, "/account/withdraw", consent=identity)
    assert refused.status == 404
    assert browser.get(target(client)).status == 303
    assert browser.submit(page, "/account/withdraw").status == 303
    assert browser.get(target(client)).status == 200


def test_administrator_lists_and_deletes_consents_of_the_own_account(
    site: Installation, browser: Browser, client: Client, name: str
) -> None:
    remembering(browser, target(client))
    found = json.loads(api(site, "GET", f"/consents?{urlencode({'person': name})}").body)["consents"]
    assert [each["client_id"] for each in found] == [client.id]
    identity = found[0]["id"]
    assert api(site, "DELETE", f"/consents/{identity}", key=ROOT_OF_BETA).status == 404
    assert api(site, "GET", f"/consents?{urlencode({'person': 'nobody'})}").status == 404
    assert api(site, "DELETE", f"/consents/{identity}").status == 204
    assert api(site, "DELETE", f"/consents/{identity}").status == 404
    assert browser.get(target(client)).status == 200


def lasting(site: Installation) -> Client:
    return web_client(site, grant_types=["authorization_code", "refresh_token"])


def used(client: Client, refresh_token: str) -> Answer:
    return client.token(grant="refresh_token", client_id=client.id, refresh_token=refresh_token)


def withdrawn(browser: Browser) -> Answer:
    answer = browser.submit(browser.get("/account"), "/account/withdraw")
    assert answer.status == 303, answer.body
    return answer


def test_withdrawn_consent_ends_its_refresh_tokens_and_their_sessions(
    site: Installation, browser: Browser, name: str
) -> None:
    client, role = lasting(site), role_for(site, "withdrawn-lasting")
    may_assume(site, name)
    first = given(redeemed(client, remembering(browser, target(client, role=role))["code"]))
    silent = given(redeemed(client, query_of(browser.get(target(client, role=role)))["code"]))
    other = given(redeemed(client, allowed(browser, target(client))["code"]))
    answer = withdrawn(browser)
    (record,) = site.records(answer.request_id)
    assert (record["detail"]["consent"], record["detail"]["refresh_tokens_ended"]) == ("withdrawn", 2)
    for issued in (first, silent):
        refusal(site, used(client, issued["refresh_token"]), "invalid_grant")
        refusal(site, exchange(site, issued["access_token"], ACCESS_TOKEN), "invalid_request")
    assert used(client, other["refresh_token"]).status == 200


def test_consent_that_an_administrator_removes_ends_its_refresh_tokens(
    site: Installation, browser: Browser, name: str
) -> None:
    client = lasting(site)
    issued = given(redeemed(client, remembering(browser, target(client))["code"]))
    found = json.loads(api(site, "GET", f"/consents?{urlencode({'person': name})}").body)["consents"]
    assert api(site, "DELETE", f"/consents/{found[0]['id']}").status == 204
    refusal(site, used(client, issued["refresh_token"]), "invalid_grant")


def test_code_of_a_withdrawn_consent_gives_no_token(site: Installation, browser: Browser) -> None:
    client = lasting(site)
    code = remembering(browser, target(client))["code"]
    withdrawn(browser)
    record = refusal(site, redeemed(client, code), "invalid_grant")
    assert record["detail"]["private"]["reason"] == "the consent was withdrawn"


def test_offboarding_removes_the_consents_of_the_person(
    site: Installation, browser: Browser, client: Client, name: str
) -> None:
    remembering(browser, target(client))
    assert api(site, "POST", "/offboardings", {"user": name}).status == 200
    found = json.loads(api(site, "GET", f"/consents?{urlencode({'person': name})}").body)["consents"]
    assert found == []


def test_offboarding_of_a_person_at_work_leaves_nothing_that_works(
    site: Installation, browser: Browser, name: str
) -> None:
    client, role = lasting(site), role_for(site, "leaver")
    may_assume(site, name)
    first = given(redeemed(client, remembering(browser, target(client, role=role))["code"]))
    pending = query_of(browser.get(target(client, role=role)))["code"]
    planned = json.loads(api(site, "POST", "/offboardings", {"user": name, "dry_run": True}).body)
    assert planned["consents_removed"] == [client.id]
    assert used(client, first["refresh_token"]).status == 200, "a dry run changes nothing"
    assert browser.get("/account").status == 200
    report = json.loads(api(site, "POST", "/offboardings", {"user": name}).body)
    assert report["consents_removed"] == [client.id]
    assert browser.get("/account").status == 303  # to the page for signing in
    refusal(site, redeemed(client, pending), "invalid_grant")
    refusal(site, exchange(site, first["access_token"], ACCESS_TOKEN), "invalid_request")
    found = json.loads(api(site, "GET", f"/consents?{urlencode({'person': name})}").body)["consents"]
    assert found == []
    assert json.loads(api(site, "POST", "/offboardings", {"user": name}).body)["consents_removed"] == []


# --- UserInfo


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_userinfo_has_the_subject_of_the_id_token(
    site: Installation, browser: Browser, client: Client, name: str, method: str
) -> None:
    issued = members(redeemed(client, allowed(browser, target(client))["code"]))
    answer = site.send(method, [bearer(issued["access_token"])], path=b"/oauth2/userinfo")
    claims = given(answer)
    assert claims["sub"] == verified(site, issued["id_token"], client.id)["sub"]
    assert claims["preferred_username"] == name
    assert claims["urn:daypass:arn"] == f"arn:aws:iam::{ALPHA}:user/{name}"


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Basic eDp5")]])
def test_userinfo_without_a_token_gets_a_challenge_without_an_error(
    site: Installation, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = site.send("GET", headers, path=b"/oauth2/userinfo")
    assert answer.status == 401
    assert "error" not in answer.headers["www-authenticate"]
    assert 'resource_metadata="' in answer.headers["www-authenticate"]
    assert set(members(answer)) == {"error_description", "request_id"}
    assert site.records(answer.request_id)[0]["error"] == "missing_credentials"


def test_userinfo_without_a_token_for_this_server_is_refused(site: Installation, browser: Browser) -> None:
    answer = site.send("GET", [bearer("x")], path=b"/oauth2/userinfo")
    refusal(site, answer, "invalid_token", 401)
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    api_client = web_client(site, audiences=["https://api.example"])
    issued = members(redeemed(api_client, allowed(browser, target(api_client))["code"]))
    refusal(site, site.send("GET", [bearer(issued["access_token"])], path=b"/oauth2/userinfo"), "invalid_token", 401)
    refusal(site, site.send("GET", [bearer(issued["id_token"])], path=b"/oauth2/userinfo"), "invalid_token", 401)


def test_application_learns_what_the_page_says_and_nothing_else(
    site: Installation, browser: Browser, client: Client
) -> None:
    response = given(redeemed(client, allowed(browser, target(client))["code"]))
    claims = verified(site, response["id_token"], client.id)
    about_the_token = {"iss", "aud", "iat", "exp", "nonce"}
    who, when_and_how = {"sub", "preferred_username", "urn:daypass:arn"}, {"auth_time", "acr", "amr", "sid"}
    assert claims.keys() == about_the_token | who | when_and_how


def test_consent_to_be_remembered_is_for_its_claims_alone(browser: Browser, client: Client) -> None:
    remembering(browser, target(client, scope="openid profile"))
    assert browser.get(target(client, scope="openid profile")).status == 303
    page = browser.get(target(client, scope="openid profile email"))
    assert "learns your email address" in text(page)


def test_application_renews_after_the_person_has_signed_out_for_as_long_as_the_page_says(site: Installation) -> None:
    made = web_client(site, grant_types=["authorization_code", "refresh_token"], refresh_token_seconds=604_800)
    name = user(site)
    browser = signed_in(site, name)
    assert "for 7 days, also after you have signed out" in text(browser.get(target(made)))
    token = given(redeemed(made, allowed(browser, target(made))["code"]))["refresh_token"]
    browser.submit(browser.get("/oauth2/logout"), "/oauth2/logout/confirm")
    for _ in range(6):
        site.wall.time += DAY_MS
        sent = {"client_id": made.id, "refresh_token": token}
        token = given(made.token(grant="refresh_token", dpop=None, **sent))["refresh_token"]
    site.wall.time += DAY_MS + 1_000
    answer = made.token(grant="refresh_token", dpop=None, client_id=made.id, refresh_token=token)
    assert members(answer)["error"] == "invalid_grant"
