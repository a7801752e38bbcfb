"""The device grant, and the API of MFA devices."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT, ROOT_OF_BETA, Answer, Installation, Key, document
from tests.browser import Browser, refused, text
from tests.oauth import FORM, given, refusal, verified
from tests.oauth_client import Client, api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import may_assume, members, role_for, signed_in, user, web_client, with_device

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


Person = tuple[str, Key]


def person(site: Installation, *actions: str) -> Person:
    """A user with a password and an access key."""
    name = user(site)
    made = site.iam("CreateAccessKey", UserName=name)
    key = (made.text("AccessKeyId"), made.text("SecretAccessKey"))
    if actions:
        allowed = document({"Action": list(actions), "Resource": "*"})
        site.iam("PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=allowed)
    return name, key


def with_mfa(site: Installation, who: Person) -> Key:
    """A session of the person with MFA."""
    totp = with_device(site, who[0])
    [device] = json.loads(api(site, "GET", f"/mfa-devices?user={who[0]}").body)["virtual_devices"]
    site.wall.time += 30_000
    code = totp.at(site.now() // 1000)
    session = site.call(who[1], "GetSessionToken", {"SerialNumber": device["serial_number"], "TokenCode": code})
    return tuple(session.text(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))


def code_of(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["code"])


def passkeys(site: Installation, name: str, key: Key = ROOT) -> list[dict[str, Any]]:
    answer = api(site, "GET", f"/mfa-devices?user={name}", key=key)
    assert answer.status == 200, answer.body
    return list(json.loads(answer.body)["passkeys"])


def test_list_shows_ones_own_devices_without_a_permission_and_no_key_material(site: Installation) -> None:
    who = person(site)
    registered(site, signed_in(site, who[0]))
    answer = api(site, "GET", "/mfa-devices", key=who[1])
    assert answer.status == 200
    found = json.loads(answer.body)
    assert (found["user"].rpartition("/")[2], [each["name"] for each in found["passkeys"]]) == (who[0], ["laptop"])
    assert set(found["passkeys"][0]) == {"id", "name", "created_at", "used_at", "aaguid", "backed_up", "blocked_at"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "/passkeys/{id}", {"name": "x"}), ("DELETE", "/passkeys/{id}", None), ("POST", "/recovery-codes", {})],
)
def test_change_of_ones_own_devices_without_mfa_is_refused_and_recorded(
    site: Installation, method: str, path: str, body: Any
) -> None:
    who = person(site)
    registered(site, signed_in(site, who[0]))
    [device] = passkeys(site, who[0])
    answer = api(site, method, path.format(id=device["id"]), body, who[1])
    assert (answer.status, code_of(answer)) == (403, "AccessDenied")
    (record,) = [each for each in site.records(answer.request_id) if each.get("error")]
    assert record["detail"]["private"]["reason"] == "devices"
    assert passkeys(site, who[0]) == [device]


def test_rename_and_remove_with_recent_mfa_and_not_when_it_is_too_old(site: Installation) -> None:
    who = person(site)
    registered(site, signed_in(site, who[0]))
    session = with_mfa(site, who)
    [device] = passkeys(site, who[0])
    renamed = api(site, "PUT", f"/passkeys/{device['id']}", {"name": "desk"}, session)
    assert (renamed.status, json.loads(renamed.body)["name"]) == (200, "desk")
    site.wall.time += 16 * 60_000
    late = api(site, "DELETE", f"/passkeys/{device['id']}", key=session)
    assert (late.status, code_of(late)) == (403, "AccessDenied")
    assert api(site, "DELETE", f"/passkeys/{device['id']}?user={who[0]}").status == 204
    assert passkeys(site, who[0]) == []


def test_remove_signs_the_user_out_and_the_passkey_signs_nobody_in(site: Installation) -> None:
    who = person(site)
    authenticator = registered(site, signed_in(site, who[0]))
    browser = Browser(site)
    assert sign_in_with(browser, authenticator).status == 303
    [device] = passkeys(site, who[0])
    assert api(site, "DELETE", f"/passkeys/{device['id']}?user={who[0]}").status == 204
    assert browser.get("/account").status == 303
    assert sign_in_with(Browser(site), authenticator).status == 403


def test_devices_of_another_user_take_the_permission_and_iams(site: Installation) -> None:
    who, other = person(site), person(site, "daypass:*")
    registered(site, signed_in(site, who[0]))
    [device] = passkeys(site, who[0])
    for method, path in (("GET", "/mfa-devices?user={}"), ("DELETE", f"/passkeys/{device['id']}?user={{}}")):
        answer = api(site, method, path.format(who[0]), key=other[1])
        assert (answer.status, code_of(answer)) == (403, "AccessDenied")  # iam:… is missing
    helper = person(site, "daypass:*", "iam:ListMFADevices", "iam:DeactivateMFADevice")
    assert passkeys(site, who[0], helper[1]) == [device]
    assert api(site, "DELETE", f"/passkeys/{device['id']}?user={who[0]}", key=helper[1]).status == 204


def test_passkey_of_another_user_is_not_reached_through_ones_own_devices(site: Installation) -> None:
    who, thief = person(site), person(site)
    registered(site, signed_in(site, who[0]))
    [device] = passkeys(site, who[0])
    session = with_mfa(site, thief)
    for method, body in (("PUT", {"name": "mine"}), ("DELETE", None)):
        answer = api(site, method, f"/passkeys/{device['id']}", body, session)
        assert (answer.status, code_of(answer)) == (404, "NoSuchEntity")
    assert passkeys(site, who[0]) == [device]


def test_devices_of_another_account_are_refused_alike_whether_the_user_exists(site: Installation) -> None:
    who = person(site)
    answers = [
        api(site, "GET", f"/mfa-devices?user={name}&account={ALPHA}", key=ROOT_OF_BETA) for name in (who[0], "nobody")
    ]
    assert [answer.status for answer in answers] == [403, 403]
    messages = [json.loads(answer.body)["error"]["message"].replace(who[0], "nobody") for answer in answers]
    assert messages[0] == messages[1]
    assert BETA in messages[0]


@pytest.mark.parametrize(("name", "status"), [("", 400), ("x" * 65, 400), ("a\nb", 400), ("two words", 200)])
def test_rename_checks_the_name(site: Installation, name: str, status: int) -> None:
    who = person(site)
    registered(site, signed_in(site, who[0]))
    [device] = passkeys(site, who[0])
    assert api(site, "PUT", f"/passkeys/{device['id']}?user={who[0]}", {"name": name}).status == status


def test_recovery_codes_are_made_for_oneself_alone(site: Installation) -> None:
    who = person(site)
    session = with_mfa(site, who)
    made = api(site, "POST", "/recovery-codes", {}, session)
    assert made.status == 201
    codes = json.loads(made.body)["codes"]
    assert len(set(codes)) == 10
    assert json.loads(api(site, "GET", "/mfa-devices", key=session).body)["recovery_codes"] == 10
    assert all(code not in json.dumps(site.records(made.request_id)) for code in codes)
    assert api(site, "POST", "/recovery-codes", {}).status == 400  # a root is not a user


def browsers(site: Installation, key: Key) -> list[dict[str, Any]]:
    answer = api(site, "GET", "/browser-sessions", key=key)
    assert answer.status == 200, answer.body
    return list(json.loads(answer.body)["browser_sessions"])


def test_browser_sessions_lists_ones_own_and_ends_one_at_once(site: Installation) -> None:
    who, other = person(site), person(site)
    first, second = signed_in(site, who[0]), signed_in(site, who[0])
    signed_in(site, other[0])
    found = browsers(site, who[1])
    assert len(found) == 2
    assert set(found[0]) == {"session_id", "created_at", "used_at", "expires_at", "source_ip", "user_agent"}
    for each in found:
        assert api(site, "DELETE", f"/browser-sessions/{each['session_id']}", key=other[1]).status == 404
        assert api(site, "DELETE", f"/browser-sessions/{each['session_id']}", key=ROOT).status in (400, 404)
    assert first.get("/console/").status == 200
    for each in found:
        assert api(site, "DELETE", f"/browser-sessions/{each['session_id']}", key=who[1]).status == 204
    assert [browser.get("/console/").status for browser in (first, second)] == [303, 303]
    assert browsers(site, who[1]) == []
    assert len(browsers(site, other[1])) == 1


def test_browser_sessions_are_not_shown_to_a_role_that_the_user_assumed_nor_against_a_deny(site: Installation) -> None:
    who = person(site, "sts:AssumeRole")
    signed_in(site, who[0])
    role = role_for(site, "reader")
    session = site.call(who[1], "AssumeRole", {"RoleArn": role, "RoleSessionName": "job"})
    assert session.status == 200, session.body
    key = tuple(session.text(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    answer = api(site, "GET", "/browser-sessions", key=key)
    assert (answer.status, code_of(answer)) == (400, "ValidationError")
    denied = document({"Effect": "Deny", "Action": "daypass:ListBrowserSessions", "Resource": "*"})
    site.iam("PutUserPolicy", UserName=who[0], PolicyName="d", PolicyDocument=denied)
    assert api(site, "GET", "/browser-sessions", key=who[1]).status == 403
