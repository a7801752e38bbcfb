"""The authorization code flow: a client sends a person, who consents, and the client gets tokens."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import jwt
import pytest
from tests.attack.installation import ALPHA, BETA, ROOT_OF_BETA, Installation
from tests.browser import BASE, Browser, forms, query_of, refused, text
from tests.oauth import given, refusal, verified
from tests.oauth_client import Client, DpopKey, api, register
from tests.sign_in import (
    CALLBACK,
    CHALLENGE,
    PASSWORD,
    VERIFIER,
    allowed,
    members,
    redeemed,
    role_for,
    signed_in,
    site_with_pages,
    target,
    user,
    web_client,
    with_device,
)


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    return web_client(site)


def test_person_who_is_not_signed_in_signs_in_and_returns_to_the_request(
    site: Installation, client: Client, name: str
) -> None:
    browser = Browser(site)
    answer = browser.get(target(client))
    assert answer.headers["location"].startswith("/login?next=%2Foauth2%2Fauthorize%3F")
    page = browser.get(answer.headers["location"])
    answer = browser.submit(page, "/login/password", account=ALPHA, user=name, password=PASSWORD)
    back = allowed(browser, answer.headers["location"])
    assert back["iss"] == BASE
    assert back["state"] == "af0ifjsldkj"
    assert redeemed(client, back["code"]).status == 200


def test_request_as_a_form_of_another_site_is_the_same_request_by_get(
    site: Installation, client: Client, browser: Browser
) -> None:
    address = target(client)
    path, _, query = address.partition("?")
    sent = [(b"content-type", b"application/x-www-form-urlencoded"), (b"origin", b"https://app.example")]
    answer = site.send("POST", sent, query.encode(), path=path.encode())  # such a form comes without our cookie
    assert (answer.status, answer.headers["location"]) == (303, address)
    assert redeemed(client, allowed(browser, answer.headers["location"])["code"]).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "query"),
    [
        ([], b"client_id=x", b""),
        ([(b"content-type", b"application/json")], b"{}", b""),
        ([(b"content-type", b"application/x-www-form-urlencoded")], b"client_id=x", b"state=y"),
        ([(b"content-type", b"application/x-www-form-urlencoded")], b"state=x&state=y", b""),
        ([(b"content-type", b"application/x-www-form-urlencoded")], b"state=" + 4_096 * b"x", b""),
    ],
)
def test_form_that_is_not_a_request_is_refused_with_a_page(
    site: Installation, headers: list[tuple[bytes, bytes]], body: bytes, query: bytes
) -> None:
    answer = site.send("POST", headers, body, path=b"/oauth2/authorize", query=query)
    assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "location" not in answer.headers
    assert site.records(answer.request_id)[0]["operation"] == "daypass:AuthorizeClient"


def test_request_that_is_too_long_for_the_sign_in_is_refused(site: Installation, client: Client) -> None:
    answer = Browser(site).get(target(client, nonce="n" * 500, resource="https://api.example/" + "r" * 4_000))
    assert answer.status == 400
    assert "Push it instead" in text(answer)


def test_id_token_says_who_signed_in_when_and_how(site: Installation, client: Client, browser: Browser) -> None:
    response = given(redeemed(client, allowed(browser, target(client))["code"]))
    claims = verified(site, response["id_token"], client.id)
    assert claims["nonce"] == "n-0S6_WzA2Mj"
    assert claims["sub"].startswith("AIDA")
    assert (claims["acr"], claims["amr"]) == ("urn:daypass:acr:single-factor", ["pwd"])
    assert claims["auth_time"] <= claims["iat"] < claims["exp"]
    token = verified(site, response["access_token"])
    assert token["client_id"] == client.id
    assert token["sub"] == claims["sub"]


def test_id_token_is_signed_as_the_settings_say(tmp_path: Path) -> None:
    with site_with_pages(tmp_path / "site", oauth={"algorithm": "RS256"}) as site:
        client, browser = web_client(site), signed_in(site, user(site))
        response = given(redeemed(client, allowed(browser, target(client))["code"]))
        assert jwt.get_unverified_header(response["id_token"])["alg"] == "RS256"


def test_token_without_a_role_allows_nothing(site: Installation, client: Client, browser: Browser) -> None:
    from tests.oauth import ACCESS_TOKEN, exchange

    text_of_page = text(browser.get(target(client)))
    assert "can do nothing else in your name" in text_of_page
    response = given(redeemed(client, allowed(browser, target(client))["code"]))
    role = role_for(site, "not-for-identities")
    answer = exchange(site, response["access_token"], ACCESS_TOKEN, role=role)
    assert members(answer)["error"] == "invalid_request"
    assert b"not authorized" in answer.body


def test_consent_names_client_role_audience_and_destination(site: Installation, browser: Browser) -> None:
    made = web_client(site, audiences=["https://api.example"])
    role = role_for(site, "auditor")
    page = browser.get(target(made, role=role, audience="https://api.example"))
    shown = text(page)
    for expected in ("app asks for access", f"role auditor of account {ALPHA}", "https://api.example", "app.example"):
        assert expected in shown
    assert "form-action 'self' https://app.example;" in page.headers["content-security-policy"]


def test_code_with_a_role_gives_a_session_of_the_role_that_trusts_the_person(
    site: Installation, client: Client, browser: Browser
) -> None:
    role = role_for(site, "reader")
    response = given(redeemed(client, allowed(browser, target(client, role=role, scope=""))["code"]))
    assert "id_token" not in response
    claims = verified(site, response["access_token"])
    assert claims["urn:daypass:session"]["role_arn"] == role
    assert claims["act"]["sub"].startswith("AIDA")


def test_role_that_does_not_admit_the_person_gives_no_token(
    site: Installation, client: Client, browser: Browser
) -> None:
    role = role_for(site, "closed", Condition={"StringEquals": {"aws:username": "somebody-else"}})
    answer = redeemed(client, allowed(browser, target(client, role=role))["code"])
    assert refusal(site, answer, "invalid_grant")["type"] == "request.denied"


def test_person_who_cancels_sends_the_client_an_error(site: Installation, client: Client, browser: Browser) -> None:
    back = allowed(browser, target(client), decision="deny")
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "af0ifjsldkj", BASE)


def test_scopes_that_libraries_ask_for_by_default_are_ignored_with_openid(site: Installation, browser: Browser) -> None:
    made = web_client(site, grant_types=["authorization_code", "refresh_token"])
    scope = "openid profile email address phone offline_access"
    code = allowed(browser, target(made, scope=scope))["code"]
    response = given(redeemed(made, code, scope=scope))
    assert response["scope"] == scope  # requests-oauthlib refuses an answer with another
    assert "scope" not in verified(site, response["access_token"])
    sent = {"client_id": made.id, "refresh_token": response["refresh_token"], "scope": scope}
    assert "scope" not in given(made.token(grant="refresh_token", dpop=None, **sent))
    once = web_client(site)
    assert given(redeemed(once, allowed(browser, target(once, scope=scope))["code"]))["scope"] == scope.removesuffix(
        " offline_access"
    )
    assert query_of(browser.get(target(made, scope="profile", role=role_for(site, "p"))))["error"] == "invalid_scope"


def test_scope_of_a_resource_server_is_not_ignored_whatever_its_name(site: Installation, browser: Browser) -> None:
    made = web_client(site, scopes=["email", "read"])
    code = allowed(browser, target(made, scope="openid profile email"))["code"]
    response = given(redeemed(made, code))
    assert (response["scope"], verified(site, response["access_token"])["scope"]) == ("openid profile email", "email")
    code = allowed(browser, target(made, scope="openid email"))["code"]
    assert members(redeemed(made, code, scope="openid email read"))["error"] == "invalid_scope"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"scope": "openid unknown"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"nonce": "ä"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
        ({"resource": "https://not-of-this-client.example"}, "invalid_target"),
    ],
)
def test_request_that_is_not_valid_goes_back_to_the_client(
    site: Installation, client: Client, browser: Browser, changes: dict[str, str], error: str
) -> None:
    answer = browser.get(target(client, **changes))
    back = query_of(answer)
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    assert (back["error"], back["state"], back["iss"]) == (error, "af0ifjsldkj", BASE)
    assert back["error_description"]
    (record,) = (r for r in site.records(answer.request_id) if r.get("error"))
    assert record["operation"] == "daypass:AuthorizeClient"


def test_client_without_the_role_or_the_grant_is_refused(site: Installation, browser: Browser) -> None:
    role = role_for(site, "other")
    narrow = web_client(site, roles=[])
    assert query_of(browser.get(target(narrow, role=role)))["error"] == "invalid_authorization_details"


def test_prompt_none_never_shows_a_page(site: Installation, client: Client, browser: Browser) -> None:
    assert query_of(Browser(site).get(target(client, prompt="none")))["error"] == "login_required"
    assert query_of(browser.get(target(client, prompt="none")))["error"] == "consent_required"
    site.wall.time += 5_000
    assert query_of(browser.get(target(client, prompt="none", max_age="1")))["error"] == "login_required"


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"max_age": "10"}])
def test_sign_in_that_is_too_old_must_be_made_again(
    site: Installation, client: Client, browser: Browser, name: str, changes: dict[str, str]
) -> None:
    site.wall.time += 11_000
    answer = browser.get(target(client, **changes))
    page = browser.get(answer.headers["location"])
    assert "sign in again" in text(page)
    before = browser.cookies.copy()
    answer = browser.submit(page, "/login/password", account=ALPHA, user=name, password=PASSWORD)
    assert browser.cookies != before
    assert "code" in allowed(browser, answer.headers["location"])


def test_step_up_asks_for_mfa_and_the_id_token_shows_it(site: Installation, client: Client) -> None:
    name = user(site)
    browser = signed_in(site, name)
    totp = with_device(site, name)
    answer = browser.get(target(client, acr_values="urn:daypass:acr:mfa"))
    page = browser.get(answer.headers["location"])
    assert "asks for a sign-in with MFA" in text(page)
    page = browser.submit(page, "/login/password", account=ALPHA, user=name, password=PASSWORD)
    answer = browser.submit(page, "/login/code", code=totp.at(site.now() // 1000))
    response = given(redeemed(client, allowed(browser, answer.headers["location"])["code"]))
    claims = verified(site, response["id_token"], client.id)
    assert (claims["acr"], claims["amr"]) == ("urn:daypass:acr:mfa", ["pwd", "mfa"])


def test_step_up_of_a_user_without_a_device_tells_the_client(
    site: Installation, client: Client, browser: Browser, name: str
) -> None:
    answer = browser.get(target(client, acr_values="urn:daypass:acr:mfa"))
    page = browser.get(answer.headers["location"])
    answer = browser.submit(page, "/login/password", account=ALPHA, user=name, password=PASSWORD)
    assert query_of(browser.get(answer.headers["location"]))["error"] == "unmet_authentication_requirements"


def test_id_token_hint_admits_only_its_person(site: Installation, client: Client, name: str) -> None:
    browser, other = signed_in(site, name), signed_in(site, user(site))
    given = members(redeemed(client, allowed(browser, target(client))["code"]))
    site.wall.time += 400_000  # an expired ID token is a hint, too
    address = target(client, id_token_hint=given["id_token"])
    assert allowed(browser, address)["code"]
    for prompt in ("", "none"):
        assert query_of(other.get(target(client, id_token_hint=given["id_token"], prompt=prompt)))["error"] == (
            "login_required"
        )
    assert Browser(site).get(address).headers["location"].startswith("/login?next=")
    assert given["id_token"].encode() not in b"".join(site.record_bytes()) + site.log.getvalue().encode()


@pytest.mark.parametrize("kind", ["access_token", "id_token of another client", "no token"])
def test_id_token_hint_that_is_no_id_token_of_the_client_is_refused(
    site: Installation, client: Client, name: str, kind: str
) -> None:
    browser, other = signed_in(site, name), web_client(site)
    given = members(redeemed(client, allowed(browser, target(client))["code"]))
    hint = {"access_token": given["access_token"], "no token": "x.y.z"}.get(kind, given["id_token"])
    asking = other if kind.endswith("client") else client
    assert query_of(browser.get(target(asking, id_token_hint=hint)))["error"] == "invalid_request"


def test_login_hint_does_not_sign_anybody_in(site: Installation, client: Client, name: str) -> None:
    page = Browser(site).get(target(client, login_hint=name))
    assert page.headers["location"].startswith("/login?")


def test_person_of_another_account_cannot_use_the_client(site: Installation, client: Client) -> None:
    stranger = user(site, ROOT_OF_BETA)
    browser = signed_in(site, stranger, BETA)
    assert query_of(browser.get(target(client)))["error"] == "access_denied"


def test_code_ends_with_the_browser_session_it_stands_for(site: Installation, client: Client, browser: Browser) -> None:
    code = allowed(browser, target(client))["code"]
    browser.submit(browser.get("/account"), "/logout")
    refusal(site, redeemed(client, code), "invalid_grant")


def test_code_expires_after_a_minute(site: Installation, client: Client, browser: Browser) -> None:
    code = allowed(browser, target(client))["code"]
    site.wall.time += 60_000
    refusal(site, redeemed(client, code), "invalid_grant")


def test_revocation_of_the_browser_session_ends_the_tokens(site: Installation, client: Client) -> None:
    from tests.oauth import bearer

    browser = signed_in(site, user(site))
    response = given(redeemed(client, allowed(browser, target(client))["code"]))
    session = forms(browser.get("/account"))["/account/end"].fields["session"]
    assert api(site, "POST", "/revocations", {"subject": "session", "value": session}).status == 201
    headers = [(b"content-type", b"application/x-www-form-urlencoded"), bearer(response["access_token"])]
    body = urlencode({"token": response["access_token"]}).encode()
    assert site.send("POST", headers, body, path=b"/oauth2/introspect").status == 401


# --- Pushed requests -------------------------------------------------------------------------------------------------


def pushed(client: Client, dpop: DpopKey | None = None, **changes: str) -> dict[str, str]:
    parameters = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "state": "pushed-state",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **client.credentials(),
        **changes,
    }
    body = urlencode({name: value for name, value in parameters.items() if value}).encode()
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    headers += [dpop.header("/oauth2/par")] if dpop is not None else []
    answer = client.site.send("POST", headers, body, path=b"/oauth2/par")
    if dpop is not None:
        dpop.take(answer)
    return {"status": str(answer.status), **members(answer)}


@pytest.fixture(scope="module")
def confidential(site: Installation) -> Client:
    return register(site, grant_types=["authorization_code"], redirect_uris=[CALLBACK], roles=["*"])


def test_confidential_client_pushes_its_request_and_binds_the_token(
    site: Installation, confidential: Client, browser: Browser
) -> None:
    dpop = DpopKey(site)
    answer = pushed(confidential, dpop_jkt=dpop.thumbprint)
    assert (answer["status"], answer["expires_in"]) == ("201", 590)
    address = f"/oauth2/authorize?{urlencode({'client_id': confidential.id, 'request_uri': answer['request_uri']})}"
    back = allowed(browser, address)
    assert back["state"] == "pushed-state"
    sent = {"code": back["code"], "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    confidential.token(grant="authorization_code", dpop=dpop, **sent)  # it gets the nonce
    response = given(confidential.token(grant="authorization_code", dpop=dpop, **sent))
    assert response["token_type"] == "DPoP"
    again = browser.get(address)
    assert refused(site, again, 400)["error"] == "validation"


def test_request_that_must_be_pushed_is_refused_in_the_address(
    site: Installation, confidential: Client, browser: Browser
) -> None:
    back = query_of(browser.get(target(confidential)))
    assert back["error"] == "invalid_request"
    assert "push" in back["error_description"]


def test_push_by_an_unauthenticated_or_wrong_client_is_refused(site: Installation, confidential: Client) -> None:
    answer = pushed(confidential, client_assertion="", client_assertion_type="", client_id=confidential.id)
    assert (answer["status"], answer["error"]) == ("401", "invalid_client")
    answer = pushed(confidential, redirect_uri="https://evil.example/")
    assert (answer["status"], answer["error"]) == ("400", "invalid_request")
    answer = pushed(confidential, request_uri="urn:ietf:params:oauth:request_uri:x")
    assert answer["error"] == "invalid_request"


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a225_push_with_a_proof_that_fapi_does_not_allow_is_refused(confidential: Client, alg: str) -> None:
    dpop = DpopKey(confidential.site, alg)
    pushed(confidential, dpop)  # for the nonce
    answer = pushed(confidential, dpop)
    assert (answer["status"], answer.get("error")) == (
        ("201", None) if alg == "ES256" else ("400", "invalid_dpop_proof")
    )


def test_request_uri_of_another_client_or_after_ten_minutes_is_refused(
    site: Installation, client: Client, confidential: Client, browser: Browser
) -> None:
    uri = pushed(confidential)["request_uri"]
    other = browser.get(f"/oauth2/authorize?{urlencode({'client_id': client.id, 'request_uri': uri})}")
    refused(site, other, 400)
    site.wall.time += 600_000
    late = browser.get(f"/oauth2/authorize?{urlencode({'client_id': confidential.id, 'request_uri': uri})}")
    refused(site, late, 303 if late.status == 303 else 400)


def test_discovery_lists_what_the_authorization_endpoint_serves(site: Installation) -> None:
    found = members(site.send("GET", path=b"/.well-known/openid-configuration"))
    assert found["authorization_endpoint"] == f"{BASE}/oauth2/authorize"
    assert found["pushed_authorization_request_endpoint"] == f"{BASE}/oauth2/par"
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True
    assert "authorization_code" in found["grant_types_supported"]
