"""Attacks on the end of a sign-in that a client asks for: A243 and A244 (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.attack.installation import Installation
from tests.browser import Browser, forms
from tests.oauth import given
from tests.oauth_client import Client
from tests.sign_in import allowed, may_assume, redeemed, signed_in, site_with_pages, target, user, web_client

from daypass.wire.oauth import consent as pages

PATH = "/oauth2/logout"
CONFIRM = f"{PATH}/confirm"
AFTER = "https://app.example/after"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("logout")) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    return web_client(site, post_logout_redirect_uris=[AFTER, "http://127.0.0.1/after"])


@pytest.fixture
def browser(site: Installation) -> Browser:
    name = user(site)
    may_assume(site, name)
    return signed_in(site, name)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def address(**parameters: str) -> str:
    return f"{PATH}?{urlencode(parameters)}"


@pytest.mark.parametrize("path", [PATH, "/oauth2/authorize"])
def test_a243_large_form_is_refused_before_it_is_encoded_as_an_address(
    site: Installation, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """One of 256 KiB became an address of 768 KiB, which took 50 ms of the event loop and which no server accepts."""
    encoded: list[int] = []

    def encode(pairs: list[tuple[str, str]]) -> str:
        encoded.append(sum(len(name) + len(value) for name, value in pairs))
        return urlencode(pairs)

    monkeypatch.setattr(pages, "urlencode", encode)
    for size in (200, 3_000, 5_000, 200_000):
        body = b"state=" + b"!" * size
        answer = site.send("POST", [(b"content-type", b"application/x-www-form-urlencoded")], body, path=path.encode())
        if size == 200:
            assert (answer.status, answer.headers["location"]) == (303, f"{path}?state={'%21' * size}")
            continue
        assert (answer.status, "location" in answer.headers) == (400, False)
        assert site.records(answer.request_id)[-1]["error"] == "validation"
    assert max(encoded) < 4_096


def test_a243_logout_by_a_form_splits_no_header_and_keeps_nothing_but_fields(site: Installation) -> None:
    body = urlencode({"state": "a\r\nSet-Cookie: x=1", "\r\nLocation": "https://evil.example", "é": "\u2028"})
    answer = site.send(
        "POST", [(b"content-type", b"application/x-www-form-urlencoded")], body.encode(), path=PATH.encode()
    )
    assert (answer.status, answer.headers["location"]) == (303, f"{PATH}?{body}")
    assert "set-cookie" not in answer.headers
    assert Browser(site).get(answer.headers["location"]).status == 400


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:80@evil.example/after",
        "http://127.0.0.1:\u0661/after",
        "http://127.0.0.1:80/after\n",
        f"{AFTER}\r\nSet-Cookie: x=1",
        "https://app.example@evil.example/after",
        "https://app.example\\@evil.example/after",
        "HTTPS://app.example/after",
        "https://app.example/%61fter",
        "https://app.example/x/../after",
    ],
)
def test_a66_logout_compares_addresses_as_text(site: Installation, client: Client, browser: Browser, uri: str) -> None:
    for who in (browser, Browser(site)):
        answer = who.get(address(client_id=client.id, post_logout_redirect_uri=uri))
        assert (answer.status, "location" in answer.headers) == (400, False)
        assert site.records(answer.request_id)[-1]["error"] == "validation"


def test_a243_hint_that_is_no_id_token_of_this_server_for_the_client_is_refused(
    site: Installation, client: Client, browser: Browser
) -> None:
    response = given(redeemed(client, allowed(browser, target(client))["code"]))
    head, claims, signature = response["id_token"].split(".")
    named = json.loads(base64.urlsafe_b64decode(f"{claims}=="))
    hints = [
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
        f"{part({'alg': 'none'})}.{claims}.{signature}",
        f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{signature}",
        *(
            f"{head}.{part({**named, **other})}.{signature}"
            for other in ({"aud": ""}, {"aud": [client.id]}, {"iss": ""})
        ),
        response["access_token"],
        ".".join("aaaaa"),
        "x" * 5_000,
    ]
    for hint in hints:
        for more in ({}, {"client_id": client.id}):
            for who in (browser, Browser(site)):
                answer = who.get(address(id_token_hint=hint, post_logout_redirect_uri=AFTER, **more))
                assert (answer.status, "location" in answer.headers) == (400, False), hint[:40]
                assert site.records(answer.request_id)[-1]["error"]
    assert browser.get("/account").status == 200


def test_a243_expired_hint_still_names_the_person_and_no_other(
    site: Installation, client: Client, browser: Browser
) -> None:
    hint = given(redeemed(client, allowed(browser, target(client))["code"]))["id_token"]
    site.wall.time += 600_000
    assert browser.get(address(id_token_hint=hint, post_logout_redirect_uri=AFTER)).status == 200
    other = signed_in(site, user(site))
    assert other.get(address(id_token_hint=hint, post_logout_redirect_uri=AFTER)).status == 400
    assert other.get("/account").status == 200


def test_a244_ticket_of_a_logout_is_of_one_browser_one_page_one_use_and_ten_minutes(
    site: Installation, client: Client, browser: Browser
) -> None:
    page = browser.get(address(client_id=client.id, post_logout_redirect_uri=AFTER))
    fields = forms(page)[CONFIRM].fields
    other = signed_in(site, user(site))
    own = forms(other.get(PATH))[CONFIRM].fields
    consent = forms(browser.get(target(client)))["/oauth2/authorize/consent"].fields
    wrong = {
        "another browser's": (other, {**own, "ticket": fields["ticket"]}),
        "of another browser": (browser, {**fields, "ticket": own["ticket"]}),
        "of another page": (browser, {**fields, "ticket": consent["ticket"]}),
        "changed": (browser, {**fields, "ticket": f"{fields['ticket'][:-4]}AAAA"}),
        "long": (browser, {**fields, "ticket": "A" * 9_000}),
        "none": (browser, {"csrf": fields["csrf"]}),
        "of nobody": (Browser(site), fields),
    }
    for name, (sender, sent) in wrong.items():
        answer = sender.post(CONFIRM, sent)
        assert answer.status in (400, 403), name
        assert "location" not in answer.headers, name
        assert site.records(answer.request_id)[-1]["error"], name
    site.wall.time += 600_001  # a page is valid for ten minutes
    late = browser.post(CONFIRM, fields)
    assert (late.status, "has expired" in late.body.decode()) == (400, True)
    assert {browser.get("/account").status, other.get("/account").status} == {200}
    again = forms(browser.get(address(client_id=client.id, post_logout_redirect_uri=AFTER)))[CONFIRM].fields
    cookies = dict(browser.cookies)
    assert browser.post(CONFIRM, again).headers["location"] == AFTER
    browser.cookies = cookies  # kept by whoever copied them
    assert browser.get("/account").status == 303
    assert browser.post(CONFIRM, again).status == 400
    assert other.get("/account").status == 200


def test_a244_logout_page_cannot_be_framed_and_no_other_method_ends_a_sign_in(browser: Browser) -> None:
    page = browser.get(PATH)
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert browser.get(CONFIRM).status == 405
    assert browser.get("/account").status == 200
