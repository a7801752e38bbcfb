"""A command line's login by browser: the listener on the loopback, with a browser made of sockets."""

from __future__ import annotations

import base64
import hashlib
import threading
from http.client import HTTPConnection
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.unit.client.servers import Script, as_json

from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError
from daypass.client.saml import BrowserLogin
from daypass.client.transport import ClientResponse, LoginServer

BASE = "http://127.0.0.1:8700"
PROVIDER = "arn:aws:iam::111122223333:saml-provider/idp"
ROLE = "arn:aws:iam::111122223333:role/reader"
GIVEN = {
    "RoleArn": ROLE,
    "AccessKeyId": "ASIAONE",
    "SecretAccessKey": "secret",
    "SessionToken": "token",
    "Expiration": "2027-01-15T09:00:00Z",
}


def visit(port: int, target: str, host: str = "") -> int:
    browser = HTTPConnection("127.0.0.1", port, timeout=60)
    browser.request("GET", target, headers={"host": host or f"127.0.0.1:{port}"})
    answer = browser.getresponse()
    answer.read()
    browser.close()
    return answer.status


def test_browser_brings_the_code_and_only_the_verifier_redeems_it() -> None:
    server = Script(as_json(GIVEN))
    with BrowserLogin(LoginServer(BASE, transport=server), PROVIDER) as login:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(login.url).query).items()}
        assert asked == {"provider": PROVIDER, "port": str(login.port), "challenge": login.challenge}
        digest = hashlib.sha256(login.verifier.encode()).digest()
        assert base64.urlsafe_b64decode(login.challenge + "=") == digest
        assert login.verifier not in login.url + repr(login)
        statuses: list[int] = []

        def browse() -> None:
            right = urlencode({"code": "the-code", "state": login.challenge, "iss": BASE})
            for target, host in (
                (f"/?{urlencode({'code': 'evil', 'state': 'other'})}", ""),
                ("/?code=evil", ""),
                (f"/favicon.ico?{right}", ""),
                (f"/?{right}", "evil.example"),
                (f"/?{right}&code=evil", ""),
                (f"/?{right}&a=1&b=2&c=3&d=4", ""),
                (f"/?{urlencode({'code': 'evil', 'state': login.challenge})}", ""),
                (f"/?{right}", ""),
            ):
                statuses.append(visit(login.port, target, host))

        browser = threading.Thread(target=browse)
        browser.start()
        role, issued = login.wait(60)
        browser.join(5)
    assert statuses == [400] * 7 + [200]
    assert (role, issued.access_key_id, issued.expiration_text()) == (ROLE, "ASIAONE", "2027-01-15T09:00:00Z")
    (request,) = server.sent
    assert request.target == "/saml/token"
    sent = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert sent == {"code": "the-code", "code_verifier": login.verifier}


def test_a439_code_of_another_servers_login_is_not_sent_to_the_server_that_was_named() -> None:
    """A hostile server sends the browser on to the person's own one, with the challenge of this login."""
    evil = Script(as_json(GIVEN))
    with BrowserLogin(LoginServer("https://evil.example", transport=evil), PROVIDER) as login:
        target = f"/?{urlencode({'code': 'the-code', 'state': login.challenge, 'iss': BASE})}"
        browser = threading.Thread(target=visit, args=(login.port, target))
        browser.start()
        with pytest.raises(LocalStateError, match="must not be sent to another address"):
            login.wait(60)
        browser.join(5)
    assert evil.sent == []


def test_nobody_comes_ends_in_time() -> None:
    made = BrowserLogin(LoginServer(BASE, transport=Script(as_json(GIVEN))), PROVIDER)
    with made as login, pytest.raises(LocalStateError, match="in time"):
        login.wait(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        as_json({**GIVEN, "AccessKeyId": 1}),
        as_json([]),
        as_json({}),
        ClientResponse(200, {}, b"<html>"),
        as_json(GIVEN | {"Expiration": "soon"}),
    ],
)
def test_answer_without_credentials_is_an_error(answer: ClientResponse) -> None:
    with BrowserLogin(LoginServer(BASE, transport=Script(answer)), PROVIDER) as login:
        target = f"/?{urlencode({'code': 'c', 'state': login.challenge, 'iss': BASE})}"
        browser = threading.Thread(target=visit, args=(login.port, target))
        browser.start()
        with pytest.raises(ClientError):
            login.wait(60)
        browser.join(5)
