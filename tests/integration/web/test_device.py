"""The device grant: a device shows a code, a person allows it in a browser, the device gets tokens."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT_OF_BETA, Installation
from tests.browser import Browser, refused, text
from tests.oauth import FORM, given, refusal, verified
from tests.oauth_client import Client
from tests.sign_in import may_assume, members, role_for, signed_in, user, web_client

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CLI = "DPCL0000000000DAYPASS"


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    return web_client(site, grant_types=[GRANT, "refresh_token"], redirect_uris=[])


@pytest.fixture
def browser(site: Installation) -> Browser:
    return signed_in(site, user(site))


def started(client: Client, **changes: str) -> dict[str, Any]:
    body = urlencode({"client_id": client.id, "scope": "openid", **changes}).encode()
    return given(client.site.send("POST", FORM, body, path=b"/oauth2/device_authorization"))


def polled(client: Client, device_code: str) -> Any:
    return client.token(grant=GRANT, client_id=client.id, device_code=device_code)


def answered(browser: Browser, user_code: str, decision: str = "allow") -> Any:
    page = browser.submit(browser.get("/device"), "/device/code", user_code=user_code)
    assert page.status == 200, page.body
    return browser.submit(page, "/device/decision", decision=decision)


def test_device_gets_tokens_after_the_person_has_allowed_it(
    site: Installation, client: Client, browser: Browser
) -> None:
    codes = started(client)
    assert (codes["interval"], codes["expires_in"]) == (5, 600)
    assert codes["verification_uri"] == "https://daypass.test/device"
    refusal(site, polled(client, codes["device_code"]), "authorization_pending")
    assert "connected" in text(answered(browser, codes["user_code"].lower().replace("-", " ")))
    response = given(polled(client, codes["device_code"]))
    assert verified(site, response["id_token"], client.id)["amr"] == ["pwd"]
    assert response["refresh_token"]
    again = polled(client, codes["device_code"])
    assert members(again)["error"] == "invalid_grant"


def test_device_gets_a_session_of_the_role_that_it_asked_for(site: Installation, client: Client) -> None:
    name = user(site)
    may_assume(site, name)
    role = role_for(site, "device-reader")
    codes = started(client, role=role)
    browser = signed_in(site, name)
    page = browser.submit(browser.get("/device"), "/device/code", user_code=codes["user_code"])
    assert f"role device-reader of account {ALPHA}" in text(page)
    assert codes["user_code"] in text(page)
    browser.submit(page, "/device/decision", decision="allow")
    response = given(polled(client, codes["device_code"]))
    assert verified(site, response["access_token"])["urn:daypass:session"]["role_arn"] == role


def test_device_that_polls_too_often_is_told_to_slow_down(site: Installation, client: Client) -> None:
    codes = started(client)
    refusal(site, polled(client, codes["device_code"]), "authorization_pending")
    refusal(site, polled(client, codes["device_code"]), "slow_down")
    site.wall.time += 5_000
    refusal(site, polled(client, codes["device_code"]), "authorization_pending")


def test_person_who_refuses_or_does_not_answer_in_time_gives_nothing(
    site: Installation, client: Client, browser: Browser
) -> None:
    codes = started(client)
    assert "gets nothing" in text(answered(browser, codes["user_code"], "deny"))
    refusal(site, polled(client, codes["device_code"]), "access_denied")
    codes = started(client)
    site.wall.time += 600_000
    refusal(site, polled(client, codes["device_code"]), "expired_token")
    page = browser.submit(browser.get("/device"), "/device/code", user_code=codes["user_code"])
    assert page.status == 404


def test_a133_code_in_the_address_is_filled_in_but_still_has_to_be_compared(
    site: Installation, client: Client, browser: Browser
) -> None:
    codes = started(client)
    address = codes["verification_uri_complete"].removeprefix("https://daypass.test")
    assert Browser(site).get(address).headers["location"].startswith("/login?next=%2Fdevice%3Fuser_code%3D")
    page = browser.get(address)
    assert codes["user_code"] in page.body.decode()
    refusal(site, polled(client, codes["device_code"]), "authorization_pending")
    page = browser.submit(page, "/device/code")
    shown = text(page)
    assert "Does your device show this code?" in shown
    assert "If somebody has sent you the code" in shown
    refusal(site, polled(client, codes["device_code"]), "slow_down")


def test_a133_person_who_types_five_wrong_codes_must_wait(site: Installation, client: Client, browser: Browser) -> None:
    page = browser.get("/device")
    for n in range(5):
        answer = browser.submit(page, "/device/code", user_code=f"BBBBBBB{'BCDFG'[n]}")
        assert answer.status == 404
        assert refused(site, answer, 404)["error"] == "not_found"
    codes = started(client)
    assert browser.submit(page, "/device/code", user_code=codes["user_code"]).status == 429
    site.wall.time += 900_000
    browser = signed_in(site, user(site))
    codes = started(client)
    assert answered(browser, codes["user_code"]).status == 200


def test_decision_needs_the_page_that_this_browser_was_shown(
    site: Installation, client: Client, browser: Browser
) -> None:
    from tests.browser import forms

    codes = started(client)
    page = browser.submit(browser.get("/device"), "/device/code", user_code=codes["user_code"])
    form = forms(page)["/device/decision"].fields
    other = signed_in(site, user(site))
    token = forms(other.get("/account"))["/logout"].fields["csrf"]
    stolen = {"csrf": token, "ticket": form["ticket"], "decision": "allow"}
    refused(site, other.post("/device/decision", stolen), 400)
    refused(site, browser.post("/device/decision", {**form, "csrf": "0" * 64, "decision": "allow"}), 403)
    browser.post("/device/decision", {**form, "decision": "deny"})
    refused(site, browser.post("/device/decision", {**form, "decision": "allow"}), 404)
    refusal(site, polled(client, codes["device_code"]), "access_denied")


def test_device_code_of_another_client_or_kind_is_refused(site: Installation, client: Client, browser: Browser) -> None:
    codes = started(client)
    answered(browser, codes["user_code"])
    other = web_client(site, grant_types=[GRANT], redirect_uris=[])
    for code in (codes["device_code"], codes["user_code"], "", "x" * 43):
        assert members(polled(other, code))["error"] in ("invalid_grant", "invalid_request")
    assert polled(client, codes["device_code"]).status == 200


def test_client_without_the_grant_is_refused(site: Installation) -> None:
    made = web_client(site)
    body = urlencode({"client_id": made.id, "scope": "openid"}).encode()
    refusal(site, site.send("POST", FORM, body, path=b"/oauth2/device_authorization"), "unauthorized_client")


def test_person_of_another_account_cannot_allow_a_device(site: Installation, client: Client) -> None:
    stranger = signed_in(site, user(site, ROOT_OF_BETA), BETA)
    codes = started(client)
    page = stranger.submit(stranger.get("/device"), "/device/code", user_code=codes["user_code"])
    assert page.status == 403


def test_command_line_is_a_client_of_every_account_and_gets_what_the_person_may_do(site: Installation) -> None:
    from tests.oauth import AWS, key_of

    name = user(site, ROOT_OF_BETA)
    line = Client(site, CLI, "")
    codes = started(line)
    browser = signed_in(site, name, BETA)
    page = browser.submit(browser.get("/device"), "/device/code", user_code=codes["user_code"])
    assert "everything that you may do" in text(page)
    browser.submit(page, "/device/decision", decision="allow")
    first = given(polled(line, codes["device_code"]))
    renewed = line.token(
        grant="refresh_token", client_id=CLI, refresh_token=first["refresh_token"], requested_token_type=AWS
    )
    key = key_of(given(renewed))
    assert site.call(key, "GetCallerIdentity").text("Arn") == f"arn:aws:iam::{BETA}:user/{name}"
    revoked = site.send(
        "POST",
        FORM,
        urlencode({"token": given(renewed)["refresh_token"], "client_id": CLI}).encode(),
        path=b"/oauth2/revoke",
    )
    assert revoked.status == 200
    assert site.call(key, "GetCallerIdentity").code == "ExpiredToken"
