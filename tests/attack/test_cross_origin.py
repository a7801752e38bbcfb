"""Attacks A300 and A301: pages of other origins at the endpoints that single-page applications call (CORS)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.attack.installation import Answer, Installation
from tests.browser import Browser
from tests.oauth import FORM, bearer, given, post, refusal
from tests.oauth_client import Client, DpopKey, register
from tests.sign_in import CALLBACK, VERIFIER, allowed, may_assume, redeemed, signed_in, site_with_pages, target, user
from tests.sign_in import web_client as registered

ORIGIN = "https://app.example"
TOKEN = "/oauth2/token"
READABLE = (TOKEN, "/oauth2/revoke", "/oauth2/par", "/oauth2/userinfo")
REFUSED_ORIGINS = (
    "https://evil.example",
    "https://app.example.evil.example",
    "https://app.example:444",
    "https://app.example/",
    "https://APP.example",
    "http://app.example",
    "null",
    "*",
    "",
    "http://127.0.0.1:5174",
    "http://[::1]",
    "com.example.app:",
    "https://\xe9",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("cross-origin")) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    uris = [CALLBACK, "https://Other.example:443/cb", "http://127.0.0.1:5173/cb", "com.example.app:/cb"]
    return registered(site, redirect_uris=uris, grant_types=["authorization_code", "refresh_token"])


@pytest.fixture
def browser(site: Installation) -> Browser:
    name = user(site)
    may_assume(site, name)
    return signed_in(site, name)


def sent(site: Installation, path: str, fields: dict[str, str], origin: str, *more: tuple[bytes, bytes]) -> Answer:
    return post(site, path, fields, (b"origin", origin.encode("latin-1")), *more)


def reader(answer: Answer) -> str:
    """Which origin may read an answer. Credentials are never allowed."""
    assert "access-control-allow-credentials" not in answer.headers
    return answer.headers.get("access-control-allow-origin", "")


def test_page_of_a_public_client_reads_tokens_and_refusals_and_the_nonce(
    site: Installation, client: Client, browser: Browser
) -> None:
    key, code = DpopKey(site), allowed(browser, target(client))["code"]
    fields = {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    asked = key.take(sent(site, TOKEN, fields, ORIGIN, key.header()))
    refusal(site, asked, "use_dpop_nonce")
    answer = sent(site, TOKEN, fields, ORIGIN, key.header())
    tokens = given(answer)
    for each in (asked, answer):
        assert reader(each) == ORIGIN
        assert each.headers["vary"] == "origin"
        assert "DPoP-Nonce" in each.headers["access-control-expose-headers"]
    renewal = {"grant_type": "refresh_token", "client_id": client.id, "refresh_token": tokens["refresh_token"]}
    key.take(answer)
    assert reader(sent(site, TOKEN, renewal, "http://127.0.0.1:5173", key.header())) == "http://127.0.0.1:5173"
    proof = key.header("/oauth2/userinfo", token=tokens["access_token"])
    shown = sent(
        site, "/oauth2/userinfo", {}, ORIGIN, (b"authorization", b"DPoP " + tokens["access_token"].encode()), proof
    )
    assert (shown.status, reader(shown)) == (200, "*")
    gone = sent(
        site, "/oauth2/revoke", {"client_id": client.id, "token": tokens["refresh_token"]}, "https://other.example"
    )
    assert (gone.status, reader(gone)) == (200, "https://other.example")


@pytest.mark.parametrize("path", READABLE)
def test_preflight_allows_the_headers_of_a_client_and_leaves_no_record(site: Installation, path: str) -> None:
    head = [
        (b"origin", b"https://evil.example"),
        (b"access-control-request-method", b"POST"),
        (b"access-control-request-headers", b"authorization,content-type,dpop"),
    ]
    answer = site.send("OPTIONS", head, path=path.encode())
    assert (answer.status, answer.body, reader(answer)) == (200, b"", "*")
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type, dpop"
    assert site.records(answer.request_id) == []


@pytest.mark.parametrize(
    "path", ["/oauth2/introspect", "/oauth2/device_authorization", "/oauth2/authorize", "/login", "/api/v1/clients"]
)
def test_a300_preflight_elsewhere_is_refused(site: Installation, path: str) -> None:
    answer = site.send("OPTIONS", [(b"origin", ORIGIN.encode())], path=path.encode())
    assert answer.status >= 400
    assert reader(answer) == ""


@pytest.mark.parametrize("origin", REFUSED_ORIGINS)
def test_a300_page_of_another_origin_reads_neither_a_token_nor_a_refusal(
    site: Installation, client: Client, browser: Browser, origin: str
) -> None:
    code = allowed(browser, target(client))["code"]
    fields = {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    for answer in (sent(site, TOKEN, {**fields, "code": "wrong"}, origin), sent(site, TOKEN, fields, origin)):
        assert reader(answer) == ""
        assert not {"vary", "access-control-expose-headers"} & answer.headers.keys()


def test_a300_two_origins_and_an_unknown_or_stopped_client_read_nothing(site: Installation, client: Client) -> None:
    fields = {"grant_type": "authorization_code", "client_id": client.id, "code": "x", "redirect_uri": CALLBACK}
    twice = sent(site, TOKEN, fields, ORIGIN, (b"origin", b"https://evil.example"))
    unknown = sent(site, TOKEN, {**fields, "client_id": "DPCLAAAAAAAAAAAAAAAAA"}, ORIGIN)
    for answer in (twice, unknown, site.send("POST", [*FORM, (b"origin", ORIGIN.encode())], path=b"/oauth2/token")):
        assert (answer.status >= 400, reader(answer)) == (True, "")


def test_a301_confidential_client_and_its_secret_are_of_no_use_in_a_page(site: Installation) -> None:
    confidential = register(
        site,
        grant_types=["authorization_code", "client_credentials"],
        redirect_uris=[CALLBACK],
        roles=["*"],
        fapi_exceptions=["bearer_tokens"],
    )
    answer = sent(site, TOKEN, {"grant_type": "client_credentials", **confidential.credentials()}, ORIGIN)
    assert reader(answer) == ""
    pushed = sent(site, "/oauth2/par", {"response_type": "code", **confidential.credentials()}, ORIGIN)
    assert reader(pushed) == ""


def test_a301_cookie_and_a_bearer_of_a_page_give_no_more_than_the_token(
    site: Installation, client: Client, browser: Browser
) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    for more in ((b"cookie", cookie), bearer("wrong")):
        answer = sent(site, "/oauth2/userinfo", {}, "https://evil.example", more)
        assert (answer.status, reader(answer)) == (401, "*")
        assert "sub" not in json.loads(answer.body)
    token = given(redeemed(client, allowed(browser, target(client))["code"]))["access_token"]
    ended = sent(site, "/oauth2/revoke", {"token": token}, "https://evil.example", bearer(token))
    assert reader(ended) == ""
