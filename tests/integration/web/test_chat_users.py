"""Chat users on the page of a person's devices: a code after MFA links one, and the page removes it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from urllib.parse import urlencode

from tests.attack.installation import ALPHA, Installation
from tests.browser import Browser, forms, text
from tests.oauth_client import api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import signed_in, user

DEVICES = "/account/devices"
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
    assert "MFA is at most 15 minutes old" in text(answer)
    assert "/daypass link" not in text(answer)
