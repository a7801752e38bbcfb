"""Attacks on the authorization endpoint and on codes: redirects, PKCE, injection, replay, forged consent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, ROOT_OF_BETA, Answer, Installation
from tests.browser import BASE, Browser, forms, query_of, refused
from tests.oauth import FORM, bearer, given, post, refusal
from tests.oauth_client import Client, DpopKey, register
from tests.sign_in import (
    CALLBACK,
    CHALLENGE,
    PASSWORD,
    VERIFIER,
    allowed,
    members,
    redeemed,
    signed_in,
    site_with_pages,
    target,
    user,
    web_client,
)

from daypass.domain.directory import RefreshFamily


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("authorization")) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    uris = [CALLBACK, "http://127.0.0.1/callback", "http://[::1]/callback", "com.example.app:/callback"]
    return web_client(site, redirect_uris=uris)


@pytest.fixture(scope="module")
def browser(site: Installation) -> Browser:
    return signed_in(site, user(site))


def introspected(site: Installation, token: str) -> int:
    """The status of an introspection by the token itself: 401 when it is not valid any more."""
    body = urlencode({"token": token}).encode()
    return site.send("POST", [*FORM, bearer(token)], body, path=b"/oauth2/introspect").status


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example/callbackx",
        "https://app.example/Callback",
        "https://APP.example/callback",
        "https://app.example:443/callback",
        "https://app.example/x/../callback",
        "https://app.example/%63allback",
        "https://app.example@evil.example/callback",
        "https://app.example\\@evil.example/callback",
        "https://app.example.evil.example/callback",
        "https://evil.example/https://app.example/callback",
        "http://app.example/callback",
        "//app.example/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://127.0.0.1:8080/other",
        "http://127.0.0.1:8080@evil.example/callback",
        "http://127.0.0.2:8080/callback",
        "http://localhost:8080/callback",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:80x/callback",
        "com.example.app://callback",
        "com.example.app:/callback ",
        "https://app.example/callback\r\nx: y",
    ],
)
def test_a66_redirect_uri_that_is_not_exactly_registered_ends_in_an_error_page(
    site: Installation, client: Client, browser: Browser, uri: str
) -> None:
    for visitor in (browser, Browser(site)):
        answer = visitor.get(target(client, redirect_uri=uri))
        refused(site, answer, 400)
        assert "location" not in answer.headers


@pytest.mark.parametrize("uri", ["http://127.0.0.1:49152/callback", "com.example.app:/callback"])
def test_redirect_uri_of_an_application_on_this_computer_may_have_any_port(
    site: Installation, client: Client, browser: Browser, uri: str
) -> None:
    page = browser.get(target(client, redirect_uri=uri))
    answer = browser.submit(page, "/oauth2/authorize/consent", decision="allow")
    assert answer.headers["location"].startswith(f"{uri}?code=")
    code = query_of(answer)["code"]
    refusal(site, redeemed(client, code, redirect_uri="http://127.0.0.1:50000/callback"), "invalid_grant")
    assert redeemed(client, code, redirect_uri=uri).status == 200


def test_a66_unknown_or_disabled_client_ends_in_an_error_page(site: Installation, browser: Browser) -> None:
    made = web_client(site)
    for client_id in ("", "nobody", "DPCLAAAAAAAAAAAAAAAAA", f"{made.id}x"):
        refused(site, browser.get(target(made, client_id=client_id)), 400)


def test_a66_repeated_parameters_end_in_an_error_page(site: Installation, client: Client, browser: Browser) -> None:
    address = f"{target(client)}&{urlencode({'redirect_uri': 'https://evil.example/'})}"
    refused(site, browser.get(address), 400)


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ""},
        {"code_challenge_method": "s256"},
        {"code_challenge": VERIFIER[:42]},
        {"code_challenge": CHALLENGE + "="},
        {"code_challenge": "!" * 43},
    ],
)
def test_a67_request_without_s256_is_refused(
    site: Installation, client: Client, browser: Browser, changes: dict[str, str]
) -> None:
    back = query_of(browser.get(target(client, **changes)))
    assert (back["error"], back["iss"]) == ("invalid_request", BASE)


@pytest.mark.parametrize("verifier", ["", "w" * 43, CHALLENGE, "v" * 42, "v" * 129, "v" * 42 + "ä"])
def test_a67_code_without_its_verifier_is_worth_nothing(
    site: Installation, client: Client, browser: Browser, verifier: str
) -> None:
    code = allowed(browser, target(client))["code"]
    answer = redeemed(client, code, code_verifier=verifier)
    refusal(site, answer, "invalid_grant" if verifier else "invalid_request")
    assert redeemed(client, code).status == 200  # an attacker's guess does not use it up


def test_a68_every_answer_to_a_client_names_the_issuer(site: Installation, client: Client, browser: Browser) -> None:
    assert allowed(browser, target(client))["iss"] == BASE
    assert allowed(browser, target(client), decision="deny")["iss"] == BASE
    assert query_of(browser.get(target(client, prompt="none")))["iss"] == BASE


def test_a70_codes_of_another_kind_or_client_are_refused(site: Installation, client: Client, browser: Browser) -> None:
    confidential = register(site, grant_types=["authorization_code"], redirect_uris=[CALLBACK], roles=["*"])
    parameters = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **confidential.credentials(),
    }
    pushed = members(site.send("POST", FORM, urlencode(parameters).encode(), path=b"/oauth2/par"))["request_uri"]
    value = pushed.rpartition(":")[2]
    dpop = DpopKey(site)
    sent = {"redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    confidential.token(grant="authorization_code", dpop=dpop, code=value, **sent)
    refusal(site, confidential.token(grant="authorization_code", dpop=dpop, code=value, **sent), "invalid_grant")
    code = allowed(browser, target(client))["code"]
    refusal(site, confidential.token(grant="authorization_code", dpop=dpop, code=code, **sent), "invalid_grant")
    refusal(site, redeemed(web_client(site), code), "invalid_grant")
    uri = f"urn:ietf:params:oauth:request_uri:{code}"
    refused(site, browser.get(f"/oauth2/authorize?{urlencode({'client_id': client.id, 'request_uri': uri})}"), 400)
    for junk in ("", "x", code + "x", code[:-1], "A" * 43, "\0" * 43):
        answer = redeemed(client, junk)
        assert members(answer)["error"] in ("invalid_grant", "invalid_request")
    assert redeemed(client, code).status == 200


def test_a70_code_that_is_used_twice_ends_the_session_of_the_first_use(
    site: Installation, client: Client, browser: Browser
) -> None:
    code = allowed(browser, target(client))["code"]
    token = given(redeemed(client, code))["access_token"]
    assert introspected(site, token) == 200
    again = redeemed(client, code)
    assert members(again)["error"] == "invalid_grant"
    recorded = [record["type"] for record in site.records(again.request_id)]
    assert sorted(recorded) == ["request.unauthenticated", "session.revoked"]
    assert introspected(site, token) == 401
    assert members(redeemed(client, code))["error"] == "invalid_grant"


def test_a70_of_parallel_uses_of_a_code_at_most_one_gets_a_token(
    site: Installation, client: Client, browser: Browser
) -> None:
    code = allowed(browser, target(client))["code"]
    pairs = {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }

    async def all_at_once() -> list[int]:
        body = urlencode(pairs).encode()
        answers = await asyncio.gather(*(site.ask("POST", FORM, body, path=b"/oauth2/token") for _ in range(20)))
        return sorted(answer.status for answer in answers)

    assert site.run(all_at_once())[1:] == [400] * 19


def test_a70_code_of_another_person_cannot_be_injected(site: Installation, client: Client, browser: Browser) -> None:
    attacker = signed_in(site, user(site))
    stolen = allowed(browser, target(client))["code"]
    own = "w" * 43
    attackers = allowed(attacker, target(client, code_challenge=VERIFIER[:43].replace("v", "w")))
    assert attackers["code"] != stolen
    refusal(site, redeemed(client, stolen, code_verifier=own), "invalid_grant")


def test_a86_consent_cannot_be_forged(site: Installation, client: Client, browser: Browser) -> None:
    page = browser.get(target(client))
    form = forms(page)["/oauth2/authorize/consent"].fields
    path = "/oauth2/authorize/consent"
    for given_form, origin in (
        ({**form, "csrf": "0" * 64}, None),
        ({name: value for name, value in form.items() if name != "csrf"}, None),
        (form, "https://evil.example"),
    ):
        refused(site, browser.post(path, {**given_form, "decision": "allow"}, origin=origin), 403)
    assert browser.get(f"{path}?{urlencode({**form, 'decision': 'allow'})}").status == 405
    other = signed_in(site, user(site))
    token = forms(other.get("/account"))["/logout"].fields["csrf"]
    refused(site, other.post(path, {"csrf": token, "ticket": form["ticket"], "decision": "allow"}), 400)
    altered = form["ticket"][:-2] + ("AA" if form["ticket"][-2:] != "AA" else "BB")
    refused(site, browser.post(path, {**form, "ticket": altered, "decision": "allow"}), 400)
    site.wall.time += 600_000
    refused(site, browser.post(path, {**form, "decision": "allow"}), 400)


def test_a86_consent_page_cannot_be_framed(site: Installation, client: Client, browser: Browser) -> None:
    page = browser.get(target(client))
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


def test_a87_name_of_a_client_is_inert_on_the_consent_page(site: Installation, browser: Browser) -> None:
    from tests.oauth_client import api

    made = web_client(site)
    answer = api(site, "PUT", made.path, {"name": "app"})
    assert answer.status == 200, answer.body
    page = browser.get(target(made, state="<script>alert(1)</script>"))
    assert b"<script" not in page.body


def test_a62_codes_and_verifiers_are_in_no_record_and_no_log(
    site: Installation, client: Client, browser: Browser
) -> None:
    code = allowed(browser, target(client))["code"]
    token = given(redeemed(client, code))["id_token"]
    kept = b"\n".join(site.record_bytes()) + site.log.getvalue().encode()
    for secret in (code, VERIFIER, token, PASSWORD):
        assert secret.encode() not in kept


def test_client_of_another_account_is_refused(site: Installation, browser: Browser) -> None:
    foreign = register(
        site,
        key=ROOT_OF_BETA,
        token_endpoint_auth_method="none",
        grant_types=["authorization_code"],
        redirect_uris=[CALLBACK],
        roles=["*"],
    )
    assert query_of(browser.get(target(foreign)))["error"] == "access_denied"
    role = f"arn:aws:iam::{ALPHA}:role/any"
    assert query_of(browser.get(target(foreign, role=role)))["error"] == "access_denied"


def test_a70_code_that_is_used_twice_ends_the_family_of_refresh_tokens(site: Installation, browser: Browser) -> None:
    made = web_client(site, grant_types=["authorization_code", "refresh_token"])
    code = allowed(browser, target(made))["code"]
    first = given(redeemed(made, code))
    sent = {"client_id": made.id}
    second = given(made.token(grant="refresh_token", refresh_token=first["refresh_token"], **sent))
    assert second["refresh_token"] != first["refresh_token"]
    assert introspected(site, second["access_token"]) == 200
    assert members(redeemed(made, code))["error"] == "invalid_grant"
    assert introspected(site, second["access_token"]) == 401
    refreshed = made.token(grant="refresh_token", refresh_token=second["refresh_token"], **sent)
    refusal(site, refreshed, "invalid_grant")


def test_a223_code_that_is_used_twice_ends_the_family_for_processes_that_have_not_read_the_revocation(
    site: Installation, browser: Browser
) -> None:
    """Another process answered 503 until it had read the revocation: the family itself was not marked as ended."""
    made = web_client(site, grant_types=["authorization_code", "refresh_token"])
    code = allowed(browser, target(made))["code"]
    given(redeemed(made, code))
    assert members(redeemed(made, code))["error"] == "invalid_grant"
    find = site.runtime.env.directory.read(lambda tx: tx.find(RefreshFamily, client_id=made.id), account=ALPHA)
    (family,) = site.run(find)
    assert family.ended_at


def test_a255_code_of_a_request_that_was_pushed_with_a_dpop_proof_is_for_its_key_alone(
    site: Installation, browser: Browser
) -> None:
    confidential = register(site, grant_types=["authorization_code"], redirect_uris=[CALLBACK], roles=["*"])
    own, other = DpopKey(site), DpopKey(site)

    def pushed(header: tuple[bytes, bytes], **changes: str) -> Answer:
        parameters = {"response_type": "code", "redirect_uri": CALLBACK, "scope": "openid", **changes}
        challenge = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        return post(site, "/oauth2/par", {**parameters, **challenge, **confidential.credentials()}, header)

    refusal(site, own.take(pushed(own.header("/oauth2/par"))), "use_dpop_nonce")
    refusal(site, pushed(own.header("/oauth2/token")), "invalid_dpop_proof")
    refusal(site, pushed(own.header("/oauth2/par"), dpop_jkt=other.thumbprint), "invalid_dpop_proof")
    header = own.header("/oauth2/par")
    uri = members(pushed(header))["request_uri"]
    refusal(site, pushed(header), "invalid_dpop_proof")
    query = urlencode({"client_id": confidential.id, "request_uri": uri})
    sent = {"code": allowed(browser, f"/oauth2/authorize?{query}")["code"], "redirect_uri": CALLBACK}
    other.nonce = own.nonce
    for key, status in ((other, 400), (own, 200)):
        answer = confidential.token(grant="authorization_code", dpop=key, code_verifier=VERIFIER, **sent)
        assert answer.status == status, answer.body
