"""A person's devices in the browser: passkeys, recovery codes, chat users; and the help that each page links to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from urllib.parse import urlencode, urlsplit

import pyotp
import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.browser import Browser, forms, text
from tests.console import policy
from tests.oauth_client import api
from tests.passkeys import new_passkey, registered, sign_in_with
from tests.sign_in import PASSWORD, signed_in, user, with_device

from daypass.domain.errors import ErrorKind
from daypass.monitoring.alerts import ALERTS
from daypass.monitoring.help import copy_of_runbooks
from daypass.monitoring.rules import Places, rules
from daypass.wire.json_errors import INTERNAL_CODE, wire_error
from daypass.wire.oauth.errors import oauth_error
from daypass.wire.service_models import aws_code

DEVICES = "/account/devices"


def test_register_a_passkey_then_sign_in_with_it_alone_is_mfa(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    browser = Browser(site)
    answer = sign_in_with(browser, authenticator)
    assert (answer.status, answer.headers["location"]) == (303, "/console/"), text(answer)
    assert "Signed in with passkey" in text(browser.get("/account"))
    (record,) = [r for r in site.records(answer.request_id) if r["type"] == "session.issued"]
    assert record["actor"]["arn"] == f"arn:aws:iam::{ALPHA}:user/{name}"
    assert "laptop" in text(browser.get(DEVICES))


def test_explain_after_a_sign_in_by_passkey_is_allowed_as_after_a_password(site: Installation) -> None:
    name = user(site)
    everything = {"Effect": "Allow", "Action": ["daypass:*", "sts:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": everything})
    site.iam("PutUserPolicy", UserName=name, PolicyName="everything", PolicyDocument=document)
    by_password, by_passkey = signed_in(site, name), Browser(site)
    sign_in_with(by_passkey, registered(site, by_password))
    for browser in (by_password, by_passkey):
        assert "Why denied?" in text(browser.get("/console/")).partition("Without permission")[0]


def test_sign_in_with_a_password_asks_a_user_with_a_passkey_for_it(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    browser = Browser(site)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    assert page.status == 200
    assert "/login/code" not in forms(page)
    assert browser.get("/account").status == 303
    form = forms(page)["/login/second-passkey"]
    answer = browser.submit(page, "/login/second-passkey", response=authenticator.assertion(form.options))
    assert answer.status == 303, text(answer)
    assert "password and MFA" in text(browser.get("/account"))


def test_sign_in_after_a_refused_passkey_shows_the_page_again_with_a_new_challenge(site: Installation) -> None:
    name = user(site)
    registered(site, signed_in(site, name))
    browser = Browser(site)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    stranger = new_passkey()
    form = forms(page)["/login/second-passkey"]
    answer = browser.submit(page, "/login/second-passkey", response=stranger.assertion(form.options))
    assert answer.status == 403
    assert "was not accepted" in text(answer)
    assert forms(answer)["/login/second-passkey"].options != form.options


def test_pages_that_ask_for_a_passkey_run_only_our_script(site: Installation) -> None:
    page = Browser(site).get("/login")
    assert page.headers["content-security-policy"].endswith("; script-src 'self'")
    (source,) = re.findall(r'<script src="([^"]+)" defer></script>', page.body.decode())
    answer = site.send("GET", path=source.encode())
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "script-src" not in Browser(site).get("/login/signed-out").headers["content-security-policy"]


def test_second_device_is_registered_only_in_a_browser_that_signed_in_with_mfa(site: Installation) -> None:
    name = user(site)
    browser = signed_in(site, name)
    registered(site, browser)
    page = browser.get(DEVICES)
    assert f"{DEVICES}/add" not in forms(page)
    assert "Sign in again" in text(page)


def test_device_is_registered_only_shortly_after_the_sign_in(site: Installation) -> None:
    browser = signed_in(site, user(site))
    page = browser.get(DEVICES)
    site.wall.time += 900_001
    form = forms(page)[f"{DEVICES}/add"]
    late = new_passkey().register(form.options)
    answer = browser.submit(page, f"{DEVICES}/add", name="late", response=late)
    assert answer.status == 401 or "Sign in again" in text(answer)
    assert "late" not in text(browser.get(DEVICES))


def test_passkey_is_renamed_and_removed_by_its_user_and_other_browsers_are_signed_out(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    here, there = Browser(site), Browser(site)
    assert sign_in_with(here, authenticator).status == 303
    assert sign_in_with(there, authenticator).status == 303
    page = here.get(DEVICES)
    assert here.submit(page, f"{DEVICES}/rename", name="blue key").status == 303
    page = here.get(DEVICES)
    assert "blue key" in text(page)
    assert here.submit(page, f"{DEVICES}/remove").status == 303
    assert "You have none" in text(here.get(DEVICES))
    assert there.get(DEVICES).status == 303
    assert sign_in_with(there, authenticator).status == 403


def test_recovery_code_replaces_the_device_once_and_new_codes_revoke_the_earlier(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    browser = Browser(site)
    sign_in_with(browser, authenticator)
    made = browser.submit(browser.get(DEVICES), f"{DEVICES}/recovery-codes")
    codes = re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", made.body.decode())
    assert len(set(codes)) == 10
    assert not re.search(codes[0], browser.get(DEVICES).body.decode())

    def recover(code: str) -> int:
        fresh = Browser(site)
        page = fresh.sign_in(ALPHA, name, PASSWORD)
        answer = fresh.submit(page, "/login/recovery", recovery=code)
        if answer.status == 303:
            assert "9 of your recovery codes" in text(fresh.get(DEVICES))
            (event,) = [r for r in site.records(answer.request_id) if r["type"] == "mfa.recovery_code_used"]
            assert event["detail"]["left"] == 9
        return answer.status

    assert recover(codes[0].upper().replace("-", " ")) == 303
    assert recover(codes[0]) == 403
    assert recover("aaaa-aaaa-aaaa-aaaa") == 403
    browser.submit(browser.get(DEVICES), f"{DEVICES}/recovery-codes")
    assert recover(codes[1]) == 403


def test_user_with_a_virtual_device_and_a_passkey_may_use_either(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    totp = with_device(site, name)
    page = Browser(site).sign_in(ALPHA, name, PASSWORD)
    assert {"/login/code", "/login/second-passkey", "/login/recovery"} <= set(forms(page))
    browser = Browser(site)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    assert browser.submit(page, "/login/code", code=totp.at(site.now() // 1000)).status == 303
    assert sign_in_with(Browser(site), authenticator).status == 303


def may_add_apps(site: Installation) -> str:
    name = user(site)
    document = policy("iam:CreateVirtualMFADevice", "iam:DeleteVirtualMFADevice", "iam:EnableMFADevice")
    site.iam("PutUserPolicy", UserName=name, PolicyName="apps", PolicyDocument=document)
    return name


def devices_of(site: Installation, name: str) -> list[str]:
    """The serial numbers of devices named after the user, used or not."""
    body = site.iam("ListVirtualMFADevices").body.decode()
    return re.findall(rf"<SerialNumber>([^<]*:mfa/{name}[-0-9]*)<", body)


def test_authenticator_app_is_added_by_two_codes_of_the_secret_that_is_shown_once(site: Installation) -> None:
    name = may_add_apps(site)
    browser = signed_in(site, name)
    given_up = browser.submit(browser.get(DEVICES), f"{DEVICES}/new-app")
    page = browser.submit(browser.get(DEVICES), f"{DEVICES}/new-app")
    assert len(devices_of(site, name)) == 1, "the device of the attempt that was given up is replaced"
    assert b'src="data:image/png;base64,iVBORw0KGgo' in page.body
    assert "img-src 'self' data:;" in page.headers["content-security-policy"]
    secret = re.search(r"\b[A-Z2-7]{64}\b", text(page))
    assert secret, text(page)
    assert secret[0] not in text(given_up)
    totp, now = pyotp.TOTP(secret[0]), site.now() // 1000
    page = browser.submit(page, f"{DEVICES}/enable-app", code1="12345", code2=totp.at(now))
    assert f"{DEVICES}/enable-app" in forms(page), "the form is shown again after a code that is too short"
    again = browser.submit(page, f"{DEVICES}/enable-app", code1=totp.at(now), code2=totp.at(now))
    assert "Authentication code for device is not valid." in text(again)
    assert secret[0] not in text(again)
    added = browser.submit(again, f"{DEVICES}/enable-app", code1=totp.at(now - 30), code2=totp.at(now))
    assert (added.status, added.headers["location"]) == (303, DEVICES), text(added)
    shown = browser.get(DEVICES)
    assert devices_of(site, name)[0] in text(shown)
    assert f"{DEVICES}/new-app" not in forms(shown), "a change now takes a sign-in with MFA"


def test_authenticator_app_without_the_permission_is_not_offered_and_refused(site: Installation) -> None:
    browser = signed_in(site, user(site))
    page = browser.get(DEVICES)
    assert f"{DEVICES}/new-app" not in forms(page)
    csrf = next(iter(forms(page).values())).fields["csrf"]
    assert "is not authorized to perform: iam:CreateVirtualMFADevice" in text(
        browser.post(f"{DEVICES}/new-app", {"csrf": csrf})
    )


def test_authenticator_app_after_a_sign_in_without_mfa_is_refused_to_a_person_with_a_device(site: Installation) -> None:
    name = may_add_apps(site)
    browser = signed_in(site, name)
    page = browser.get(DEVICES)
    with_device(site, name)
    answer = browser.submit(page, f"{DEVICES}/new-app")
    assert "Sign in with MFA to change your devices." in text(answer)
    assert len(devices_of(site, name)) == 1


KEY = "8f742231b10e8888abcd99yyyzzz85a5"


def sent(site: Installation, body: bytes) -> str:
    """The answer to a command in Slack."""
    at = site.wall.time // 1000
    mac = hmac.new(KEY.encode(), b"v0:%d:" % at + body, hashlib.sha256).hexdigest()
    headers = [
        (b"host", b"daypass.test"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"x-slack-request-timestamp", str(at).encode()),
        (b"x-slack-signature", f"v0={mac}".encode()),
    ]
    answer = site.run(site.ask("POST", headers, body, path=f"/chat/slack/{ALPHA}/ops".encode()))
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["text"])


def test_person_links_a_chat_user_with_a_code_of_the_page_and_removes_it(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    channel = {
        "kind": "slack",
        "target": "https://hooks.slack.example/1",
        "events": ["access.requested"],
        "secret": KEY,
    }
    assert api(site, "PUT", "/notification-channels/ops", channel).status == 200
    browser = Browser(site)
    sign_in_with(browser, authenticator)
    page = browser.submit(browser.get(DEVICES), f"{DEVICES}/chat-code")
    found = re.search(r"/daypass (link [A-Za-z0-9_-]+)", text(page))
    assert found, text(page)
    assert found[1] not in text(browser.get(DEVICES))
    given = {"team_id": "T1", "user_id": "U1", "user_name": "ann <b>", "text": found[1]}
    assert f":user/{name}" in sent(site, urlencode(given).encode())
    listed = browser.get(DEVICES)
    assert ":T1:U1, linked" in text(listed)
    assert b"ann <b>" not in listed.body
    assert browser.submit(listed, f"{DEVICES}/chat-unlink").status == 303
    assert "No chat user is linked." in text(browser.get(DEVICES))


def test_code_of_the_page_for_a_chat_user_of_teams_is_for_teams_and_another_text_is_refused(site: Installation) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name))
    browser = Browser(site)
    sign_in_with(browser, authenticator)
    assert "Chat user of Teams" not in text(browser.get(DEVICES)), "no channel takes votes of Teams"
    channel = {"kind": "teams", "target": "https://teams.example/1", "events": ["access.requested"]}
    key = base64.b64encode(KEY.encode()).decode()
    assert api(site, "PUT", "/notification-channels/teams", {**channel, "secret": key}).status == 200
    form = forms(browser.get(DEVICES))[f"{DEVICES}/chat-code"].fields
    page = browser.post(f"{DEVICES}/chat-code", {**form, "chat_user": "teams:0123456789abcdef:t-1:u-1"})
    assert re.search(r"(?<!/daypass )link [A-Za-z0-9_-]{40,}", text(page)), text(page)
    refused = browser.post(f"{DEVICES}/chat-code", {**form, "chat_user": "<b>ann"})
    assert "A chat user is SERVICE:KEY:WORKSPACE:USER" in text(refused)
    assert b"<b>ann" not in refused.body


def test_sign_in_without_mfa_gets_no_code_for_a_chat(site: Installation) -> None:
    name = user(site)
    registered(site, browser := signed_in(site, name))
    page = browser.get(DEVICES)
    assert f"{DEVICES}/chat-code" not in forms(page)
    form = forms(page)
    token = next(iter(form.values())).fields["csrf"]
    answer = browser.post(f"{DEVICES}/chat-code", {"csrf": token})
    assert "MFA is at most 15 minutes old: sign in again, or call GetSessionToken" in text(answer)
    assert "/daypass link" not in text(answer)


def links(answer: Answer) -> set[str]:
    return set(re.findall(r'href="(/help/[^"]*)"', answer.body.decode()))


def test_everybody_reaches_each_page_from_the_first_one(site: Installation) -> None:
    stranger, waiting, seen = Browser(site), ["/help/"], set[str]()
    while waiting:
        path = waiting.pop()
        page = stranger.get(path)
        assert page.status == 200, path
        seen.add(path)
        waiting.extend(links(page) - seen - {*waiting})
    codes = {of(kind)[0] for kind in ErrorKind for of in (aws_code, wire_error, oauth_error)}
    wanted = {*codes, *(kind.value for kind in ErrorKind), INTERNAL_CODE}
    assert {f"/help/errors/{code}" for code in wanted} <= seen
    alerting = rules(Places())["groups"][1]["rules"]
    assert {urlsplit(each["annotations"]["runbook_url"]).path for each in alerting} <= seen
    assert all(f'id="{alert.name}"' in copy_of_runbooks() for alert in ALERTS)
    assert set(re.findall(r'href="#(\w+)"', copy_of_runbooks())) <= {alert.name for alert in ALERTS}


@pytest.mark.parametrize(
    "name",
    ["errors/%3Cscript%3E", "errors/../runbooks", "errors/AccessDenied/x", "nothing", "errors/__class__", "runbooks/" + "x" * 500],
)  # fmt: skip
def test_unknown_name_is_not_found_and_not_repeated(site: Installation, name: str) -> None:
    answer = Browser(site).get(f"/help/{name}")
    assert answer.status == 404
    assert "script>" not in answer.body.decode()
    assert links(answer) == {"/help/errors/NoSuchEntity"}


def test_error_pages_and_refused_forms_lead_to_help(site: Installation, browser: Browser) -> None:
    denied = browser.get("/console/settings")
    assert "/help/errors/AccessDenied" in links(denied)
    assert b"/console/explain?" not in denied.body, "that page would refuse, too"
    role = f"arn:aws:iam::{ALPHA}:role/absent"
    own = browser.submit(
        browser.get("/console/request"), "/console/request/send", reason="To see its answer", role=role
    )
    assert "/help/errors/AccessDenied" in links(own)
    assert b"About AccessDenied</a></p>" in own.body, "a link to the same form helps nobody"
    form = browser.get(f"/console/credentials?role=arn:aws:iam::{ALPHA}:role/absent")
    refused = browser.submit(form, "/console/credentials/show")
    [link] = [each for each in links(refused) if each.startswith("/help/errors/")]
    assert refused.body.index(b'role="alert"') < refused.body.index(link.encode())  # the problem, then its page
    assert "What to do" in text(Browser(site).get(link))
