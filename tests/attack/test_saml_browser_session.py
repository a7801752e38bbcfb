"""Signing a browser in with SAML, and attacks on it: other browsers, other tickets, an old authentication."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.attack.installation import ALPHA, Answer, Installation, document
from tests.browser import BASE, Browser, forms, text
from tests.oauth import verified
from tests.saml_idp import Response, metadata, when
from tests.sign_in import allowed, members, redeemed, site_with_pages, target, web_client

PROVIDER = f"arn:aws:iam::{ALPHA}:saml-provider/idp"
ROLES = [f"arn:aws:iam::{ALPHA}:role/{name}" for name in ("saml-reader", "saml-writer")]
_ids = itertools.count()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("saml-browser")) as made:
        made.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=metadata())
        trust = document({"Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithSAML"})
        for role in ROLES:
            made.role(role.rpartition("/")[2], trust)
        yield made


def begun(browser: Browser, following: str = "/account", **more: str) -> dict[str, str]:
    """The identity provider's input: RelayState, and the request's text and id."""
    asked = urlencode({"provider": PROVIDER, "next": following, **more})
    answer = browser.get(f"/saml/login?{asked}")
    assert answer.status == 303, answer.body
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    request = zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15).decode()
    return {"relay": query["RelayState"][0], "request": request, "id": request.partition('ID="')[2].partition('"')[0]}


def answered(site: Installation, browser: Browser, request: dict[str, str], **more: Any) -> Answer:
    """The page after the identity provider's form: it comes from another site, without cookies that are Lax."""
    number = next(_ids)
    address = f"{BASE}/saml/acs"
    known = {
        "roles": [f"{role},{PROVIDER}" for role in ROLES],
        "recipient": address,
        "destination": address,
        "audience": f"{BASE}/saml/metadata",
        "now": site.now(),
        "in_response_to": request["id"],
        "assertion_id": f"_c{number}",
        "response_id": f"_t{number}",
    }
    fields = {"SAMLResponse": Response(**{**known, **more}).encoded(), "RelayState": request["relay"]}
    stranger = Browser(site)
    answer = stranger.post("/saml/acs", fields, origin="https://idp.example.com")
    browser.cookies |= {name: value for name, value in stranger.cookies.items() if name.endswith("-saml")}
    return answer


def test_sign_in_with_saml_gives_a_browser_session_of_the_chosen_role(site: Installation) -> None:
    browser, client = Browser(site), web_client(site)
    page = browser.get(f"/login/providers?account={ALPHA}")
    assert b'href="/saml/login?provider=' in page.body
    request = begun(browser, target(client))
    choice = answered(site, browser, request)
    assert "signs you in to Daypass in this browser" in text(choice)
    answer = browser.submit(choice, "/saml/choose", choice="1")
    assert (answer.status, answer.headers["location"]) == (303, target(client))
    (record,) = site.records(answer.request_id)
    assert (record["type"], record["detail"]["form"]) == ("session.issued", "browser")
    assert b"ASIA" not in answer.body
    assert f"arn:aws:sts::{ALPHA}:assumed-role/saml-writer/ann" in text(browser.get("/account"))
    assert redeemed(client, allowed(browser, target(client))["code"]).status == 200


def refused(site: Installation, answer: Answer, reason: str) -> None:
    assert answer.status == 400, answer.body
    (record,) = site.records(answer.request_id)
    assert record["detail"]["private"]["reason"] == reason, record


def test_a88_choice_in_another_browser_signs_nobody_in(site: Installation) -> None:
    attacker, victim = Browser(site), Browser(site)
    choice = answered(site, victim, begun(attacker))  # the attacker's login, posted by the victim's browser
    victim.get("/login")
    answer = victim.submit(choice, "/saml/choose", choice="0")
    refused(site, answer, "browser")
    assert victim.get("/account").status == 303


def test_a88_ticket_of_one_purpose_is_worth_nothing_for_the_other(site: Installation) -> None:
    browser = Browser(site)
    fields = forms(answered(site, browser, begun(browser)))["/saml/choose"].fields
    del fields["for"]
    refused(site, browser.post("/saml/choose", {**fields, "choice": "0"}), "browser")
    unsolicited = answered(site, browser, {"id": "", "relay": ""})
    fields = forms(unsolicited)["/saml/choose"].fields
    refused(site, browser.post("/saml/choose", {**fields, "for": "browser", "choice": "0"}), "browser")


def test_a32_choice_that_was_made_signs_in_once(site: Installation) -> None:
    browser = Browser(site)
    choice = answered(site, browser, begun(browser))
    cookies = dict(browser.cookies)
    assert browser.submit(choice, "/saml/choose", choice="0").status == 303
    again = Browser(site, cookies=cookies)
    refused(site, again.submit(choice, "/saml/choose", choice="0"), "replay")


def test_request_for_a_recent_sign_in_forces_authentication_and_checks_it(site: Installation) -> None:
    browser = Browser(site)
    request = begun(browser, again="age")
    assert ' ForceAuthn="true"' in request["request"]
    old = Response(now=site.now()).assertion()
    assert f'AuthnInstant="{when(site.now())}"' in old
    choice = answered(site, browser, request)
    site.wall.time += 10_000
    assert browser.submit(choice, "/saml/choose", choice="0").status == 303
    site.wall.time += 120_000
    late = Browser(site)
    request = begun(late, again="age")
    choice = answered(site, late, request, authenticated_at=site.now() - 120_000)
    refused(site, late.submit(choice, "/saml/choose", choice="0"), "AuthnInstant is too old")


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_a88_return_address_of_another_origin_is_replaced_after_saml(site: Installation, following: str) -> None:
    browser = Browser(site)
    choice = answered(site, browser, begun(browser, following))
    assert browser.submit(choice, "/saml/choose", choice="0").headers["location"] == "/console/"


def test_a224_old_authn_instant_is_the_auth_time_of_every_token(site: Installation) -> None:
    browser, client = Browser(site), web_client(site)
    at = site.now() - 7_200_000
    choice = answered(site, browser, begun(browser), authenticated_at=at)
    assert browser.submit(choice, "/saml/choose", choice="0").status == 303
    got = members(redeemed(client, allowed(browser, target(client))["code"]))
    for text_, audience in ((got["id_token"], client.id), (got["access_token"], BASE)):
        assert verified(site, text_, audience)["auth_time"] == at // 1000
