"""Signing in with an OpenID Connect provider: roles by trust policy, applications, step-up, the end of a session."""

from __future__ import annotations

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.browser import Browser, text
from tests.fake_network import FakeNetwork, http
from tests.oauth import verified
from tests.oauth_client import api
from tests.sign_in import allowed, members, redeemed, role_for, target, web_client
from tests.sign_in_provider import Person, Provider, came_back, net, site, started

__all__ = ["net", "site"]


@pytest.fixture(scope="module")
def provider(site: Installation, net: FakeNetwork) -> Provider:
    made = Provider(site, net)
    admins = made.role("web-admins", **{f"{made.url}:team": "ops"})
    return made.registered(admins, made.role("web-staff"), name_claim="email")


def ann(**claims: object) -> Person:
    return Person(claims={"email": "ann@example.com", **claims})


def test_sign_in_gives_a_browser_session_of_the_first_role_that_admits(site: Installation, provider: Provider) -> None:
    browser = Browser(site)
    answer = came_back(browser, provider, ann(), following="/account")
    assert (answer.status, answer.headers["location"]) == (303, "/account")
    (record,) = site.records(answer.request_id)
    assert (record["type"], record["detail"]["form"]) == ("session.issued", "browser")
    assert record["actor"]["federated"]["subject"] == "ann"
    page = text(browser.get("/account"))
    assert f"arn:aws:sts::{ALPHA}:assumed-role/web-staff/ann@example.com" in page
    assert "idp.example.com:ann" in page
    of_ops = Browser(site)
    assert came_back(of_ops, provider, ann(team="ops")).status == 303
    assert "assumed-role/web-admins/" in text(of_ops.get("/account"))


def test_sign_in_by_a_role_that_admits_nobody_is_refused_and_on_the_record(
    site: Installation, net: FakeNetwork
) -> None:
    other = Provider(site, net, "closed.example.com")
    other.registered(other.role("closed", **{f"{other.url}:sub": "bob"}))
    answer = came_back(Browser(site), other)
    assert answer.status == 403
    (record,) = (r for r in site.records(answer.request_id) if r.get("error"))
    assert (record["operation"], record["error"]) == ("daypass:SignIn", "access_denied")


def test_providers_of_an_account_are_links_and_other_accounts_have_none(site: Installation, provider: Provider) -> None:
    browser = Browser(site)
    page = browser.get(f"/login/providers?account={ALPHA}&next=%2Fdevice")
    assert b"/login/provider?provider=" in page.body
    assert b"next=%2Fdevice" in page.body
    assert "do not sign in with an identity provider" in text(browser.get("/login/providers?account=999988887777"))


def test_persons_of_one_role_see_and_end_only_their_own_browsers(site: Installation, provider: Provider) -> None:
    first, second = Browser(site), Browser(site)
    came_back(first, provider, Person("carol", {"email": "carol@example.com"}))
    came_back(second, provider, Person("dave", {"email": "carol@example.com"}))
    assert first.get("/account").body.count(b"/account/end") == 1
    assert second.get("/account").body.count(b"/account/end") == 1


def test_application_gets_an_id_token_of_the_person_and_a_role_that_trusts_the_first(
    site: Installation, provider: Provider
) -> None:
    browser, client = Browser(site), web_client(site)
    address = target(client, role=role_for(site, "reports"))
    following = browser.get(address)
    assert following.headers["location"].startswith("/login?next=")
    came_back(browser, provider, ann(amr=["pwd", "mfa"]))
    answer = redeemed(client, allowed(browser, address)["code"])
    assert answer.status == 200, answer.body
    given = members(answer)
    claims = verified(site, given["id_token"], client.id)
    assert (claims["amr"], claims["acr"]) == (["pwd", "mfa"], "urn:daypass:acr:mfa")
    assert len(claims["sub"]) == 64
    assert "ann" not in claims["sub"]
    other = Browser(site)
    came_back(other, provider, Person("erin", {"email": "ann@example.com"}))
    again = members(redeemed(client, allowed(other, target(client))["code"]))
    assert verified(site, again["id_token"], client.id)["sub"] != claims["sub"]
    acting = verified(site, given["access_token"])["act"]
    assert acting["sub"].endswith(":ann@example.com")
    assert acting["act"]["sub"] == f"{provider.arn}:ann"


def test_request_for_a_recent_sign_in_asks_the_provider_again(site: Installation, provider: Provider) -> None:
    browser, client = Browser(site), web_client(site)
    now = site.now() // 1000
    came_back(browser, provider, ann(auth_time=now - 7_200))
    answer = browser.get(target(client, max_age="3600"))
    assert "again=age" in answer.headers["location"]
    address = started(browser, provider, "/account", again="age")
    assert "prompt=login&max_age=0" in address
    stale = browser.get(provider.answer_to(address, ann(auth_time=now - 7_200)))
    assert stale.status == 400
    fresh = came_back(browser, provider, ann(auth_time=now), following="/account", again="age")
    assert fresh.status == 303
    assert browser.get(target(client, max_age="3600")).status == 200


def test_revocation_of_the_person_ends_the_browser_session(site: Installation, provider: Provider) -> None:
    browser = Browser(site)
    came_back(browser, provider, Person("fay", {"email": "fay@example.com"}))
    assert browser.get("/account").status == 200
    ended = api(site, "POST", "/revocations", {"subject": "principal", "value": f"{provider.arn}:fay"})
    assert ended.status == 201, ended.body
    assert browser.get("/account").status == 303


def test_provider_that_fails_is_asked_again_only_after_a_pause(site: Installation, net: FakeNetwork) -> None:
    broken = Provider(site, net, "broken.example.com")
    broken.registered(broken.role("broken"))
    document = f"https://{broken.url}/.well-known/openid-configuration"
    whole, net.pages[document] = net.pages[document], http(b"no", "500 Oops")
    before = net.asked.count(document)
    for _ in range(5):
        answer = Browser(site).get(f"/login/provider?provider={broken.arn}")
        assert answer.status == 400
        assert b'href="/login"' in answer.body  # the way back: a password may work
    assert net.asked.count(document) == before + 1
    net.pages[document] = whole
    site.wall.time += 11_000
    assert Browser(site).get(f"/login/provider?provider={broken.arn}").status == 303


def test_client_secret_is_sealed_and_never_shown(site: Installation, provider: Provider) -> None:
    kept = {"client_secret": "***", "roles": [f"arn:aws:iam::{ALPHA}:role/web-staff"], "name_claim": "email"}
    shown = provider.put({"sign_in": {**kept, "client_id": provider.client_id}})
    assert shown.status == 200, shown.body
    assert b'"***"' in shown.body
    moved = provider.put({"sign_in": {**kept, "client_id": "another"}})
    assert moved.status == 400
    assert not any(b"provider-secret" in record for record in site.record_bytes())
