"""Hostile requests at the pages of sign-in, consent and devices: whatever comes, the answer is a page or a redirect, never a 500."""

from __future__ import annotations

import random
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.attack.junk import HOSTILE
from tests.browser import Browser
from tests.fake_network import FakeNetwork
from tests.sign_in import signed_in, site_with_pages, target, user, web_client
from tests.sign_in_provider import Person, Provider, net, started

from daypass.wire.web import cookies as csrf

pytestmark = pytest.mark.slow

__all__ = ["net"]

STATUSES = (200, 303, 400, 401, 403, 404, 405, 413, 415, 429)
UNLIMITED = {
    f"{name}_{what}": 1_000_000 for name in ("failures", "principal", "account") for what in ("per_second", "burst")
}
FIELDS = (
    *("account", "user", "password", "next", "again", "provider", "ticket", "code", "device", "session", "consent"),
    *("state", "iss", "error", "error_description", "port", "challenge", "remember", "decision", "user_code", "person"),
    *("client_id", "redirect_uri", "scope", "role", "authorization_details", "resource", "prompt", "max_age", "nonce"),
    *(
        "request_uri",
        "response_type",
        "code_challenge",
        "code_challenge_method",
        "acr_values",
        "dpop_jkt",
        "interaction",
    ),
)
SHOWN = ("/login", "/login/providers", "/login/provider", "/saml/login", "/oauth2/authorize", "/device", "/account")
SENT = (
    *("/login/password", "/login/code", "/login/new-password", "/logout", "/account/end", "/account/withdraw"),
    *("/oauth2/authorize/consent", "/device", "/device/decision", "/saml/choose", "/saml/acs"),
)
ROUNDS = 250


@pytest.fixture(scope="module")
def site(net: FakeNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("pages"), rates=UNLIMITED) as made:
        yield made


def test_a100_hostile_values_at_every_page_are_answered_by_a_page(site: Installation, net: FakeNetwork) -> None:
    number, client = random.Random(13), web_client(site)
    provider = Provider(site, net)
    provider.registered(provider.role("fuzzed"))
    person = signed_in(site, user(site))
    values = [*HOSTILE, ALPHA, "ann", provider.arn, client.id, "https://app.example/callback", "code", "S256", "-1"]
    served = 0
    for turn in range(ROUNDS):
        browser = person if number.random() < 0.5 else Browser(site)
        pairs = [(number.choice(FIELDS), number.choice(values)) for _ in range(number.randrange(6))]
        if turn % 2:
            query = urlencode(pairs, errors="surrogatepass").encode("ascii")
            cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
            answer = site.send(
                "GET", [(b"cookie", cookies)] if cookies else [], path=number.choice(SHOWN).encode(), query=query
            )
        else:
            cookie = next(iter(browser.cookies.values()), "")
            body = urlencode([*pairs, (csrf.FIELD, csrf.token(cookie))], errors="surrogatepass").encode("ascii")
            sent = [
                (b"content-type", b"application/x-www-form-urlencoded"),
                *((b"cookie", f"{name}={value}".encode()) for name, value in browser.cookies.items()),
            ]
            answer = site.send("POST", sent, body, path=number.choice(SENT).encode())
        assert answer.status in STATUSES, (turn, pairs, answer.body)
        assert b"Traceback" not in answer.body
        served += answer.status in (200, 303)
    assert served > ROUNDS // 20


def test_a100_good_requests_with_one_hostile_value_are_answered_by_a_page(site: Installation, net: FakeNetwork) -> None:
    number, client = random.Random(14), web_client(site)
    provider = Provider(site, net, "other.example.com")
    provider.registered(provider.role("fuzzed-too"))
    person, statuses = signed_in(site, user(site)), set()
    for turn in range(ROUNDS // 2):
        name = number.choice(FIELDS[-21:])
        text = number.choice(HOSTILE).encode("utf-8", "replace").decode()
        if turn % 4:
            answer = person.get(target(client, **{name: text}))
        else:
            browser = Browser(site)
            answer = browser.get(provider.answer_to(started(browser, provider), Person(response={name: text})))
        assert answer.status in STATUSES, (turn, name, text, answer.body)
        statuses.add(answer.status)
    assert {200, 303} & statuses
