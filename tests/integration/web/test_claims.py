"""Claims about people in ID tokens and from UserInfo, and what stock clients of OpenID Connect expect besides."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from tests.attack.installation import Answer, Installation
from tests.browser import BASE, query_of, text
from tests.oauth import FORM, bearer, given, refusal, verified
from tests.oauth_client import Client, register
from tests.sign_in import CALLBACK, VERIFIER, allowed, members, redeemed, signed_in, target, user, web_client

from daypass.domain.directory import ScimResource
from daypass.domain.oauth.client import ClientSettings
from daypass.domain.oauth.client_metadata import read_document
from daypass.domain.web_identity import standard_claims

ALL = "openid profile email groups"
SCIM = {"displayName": "Ann Lee", "emails": [{"value": "b@x.example"}, {"value": "ann@x.example", "primary": True}]}


@pytest.fixture
def ann(site: Installation) -> str:
    """A user in a group, with an address in a tag."""
    name = user(site)
    for key, value in (("name", "Ann"), ("email", "ann@tag.example")):
        site.iam("TagUser", UserName=name, **{"Tags.member.1.Key": key, "Tags.member.1.Value": value})
    site.iam("CreateGroup", GroupName=f"group-of-{name}")
    site.iam("AddUserToGroup", GroupName=f"group-of-{name}", UserName=name)
    return name


def userinfo(site: Installation, token: str) -> dict[str, Any]:
    return members(site.send("GET", [bearer(token)], path=b"/oauth2/userinfo"))


def claims_of(site: Installation, client: Client, name: str, scope: str = ALL) -> dict[str, Any]:
    response = given(redeemed(client, allowed(signed_in(site, name), target(client, scope=scope))["code"]))
    return verified(site, response["id_token"], client.id)


def test_claims_are_those_of_the_scopes_that_the_person_consented_to(site: Installation, ann: str) -> None:
    client = web_client(site)
    page = text(signed_in(site, ann).get(target(client, scope=ALL)))
    for expected in ("your user name and id", "your name", "your email address", "which groups you are in"):
        assert expected in page
    whole = claims_of(site, client, ann)
    assert (whole["name"], whole["preferred_username"], whole["groups"]) == ("Ann", ann, [f"group-of-{ann}"])
    assert (whole["email"], whole["email_verified"]) == ("ann@tag.example", False)
    for scope, names in (
        ("openid", set()),
        ("openid email", {"email", "email_verified"}),
        ("openid groups", {"groups"}),
    ):
        found = claims_of(site, client, ann, scope)
        assert found.keys() & {"name", "email", "email_verified", "groups"} == names


def test_userinfo_has_the_claims_of_the_token_and_no_others(site: Installation, ann: str) -> None:
    client, browser = web_client(site), signed_in(site, ann)
    whole = given(redeemed(client, allowed(browser, target(client, scope=ALL))["code"]))["access_token"]
    alone = given(redeemed(client, allowed(browser, target(client))["code"]))["access_token"]
    assert userinfo(site, whole)["email"] == "ann@tag.example"
    assert userinfo(site, alone).keys() == {"sub", "preferred_username", "urn:daypass:arn"}


def test_address_of_the_directory_that_provisions_the_user_is_verified(site: Installation, ann: str) -> None:
    identity = site.iam("GetUser", UserName=ann).text("UserId")
    row = ScimResource(identity, "111122223333", "User", "", json.dumps(SCIM), 1, 0, 0)
    site.run(site.runtime.env.journal.write(lambda tx: (tx.insert(row), _event(site)), account="111122223333"))
    whole = claims_of(site, web_client(site), ann)
    assert (whole["name"], whole["email"], whole["email_verified"]) == ("Ann Lee", "ann@x.example", True)


def _event(site: Installation) -> Any:
    from daypass.domain.events import Event, EventType

    return Event(EventType.DIRECTORY_CHANGED, site.now(), "111122223333", {}, {}, "r" * 32)


def test_client_gets_only_the_claims_of_its_settings(site: Installation, ann: str) -> None:
    client = web_client(site, claims=["groups"])
    found = claims_of(site, client, ann)
    assert found.keys() & {"name", "preferred_username", "email", "email_verified", "groups"} == {"groups"}


def test_claims_of_a_providers_token_are_taken_in_their_standard_form_only() -> None:
    given_claims = {"name": "A", "email": "a@x", "email_verified": "true", "groups": ["g", 5, "h\n"], "other": "x"}
    assert standard_claims(given_claims) == {"name": "A", "email": "a@x", "email_verified": False, "groups": ["g"]}
    assert standard_claims({"name": 5, "email": "", "groups": "g", "email_verified": True}) == {}
    assert standard_claims({"email": "a@x", "email_verified": True})["email_verified"] is True


def test_refresh_gives_an_id_token_of_the_same_sign_in(site: Installation, ann: str) -> None:
    client = web_client(site, grant_types=["authorization_code", "refresh_token"])
    first = given(redeemed(client, allowed(signed_in(site, ann), target(client, scope=ALL))["code"]))
    site.wall.time += 120_000
    sent = {"client_id": client.id, "refresh_token": first["refresh_token"]}
    second = given(client.token(grant="refresh_token", dpop=None, **sent))
    before, after = (verified(site, each["id_token"], client.id) for each in (first, second))
    assert after["iat"] > before["iat"]
    assert "nonce" not in after
    for name in ("iss", "sub", "aud", "auth_time", "sid", "amr", "email", "groups"):
        assert after[name] == before[name]
    times = {verified(site, each["access_token"])["auth_time"] for each in (first, second)}
    assert times == {before["auth_time"]}
    assert not any("act" in verified(site, each["access_token"]) for each in (first, second))
    assert userinfo(site, second["access_token"])["groups"] == before["groups"]


def test_id_tokens_of_one_client_are_signed_with_rs256(site: Installation, ann: str) -> None:
    client = web_client(site, id_token_signed_response_alg="RS256")
    response = given(redeemed(client, allowed(signed_in(site, ann), target(client))["code"]))
    assert jwt.get_unverified_header(response["id_token"])["alg"] == "RS256"
    assert jwt.get_unverified_header(response["access_token"])["alg"] == "ES256"
    assert verified(site, response["id_token"], client.id)["aud"] == client.id
    document = members(site.send("GET", path=b"/.well-known/openid-configuration"))
    assert "RS256" in document["id_token_signing_alg_values_supported"]
    assert {"profile", "email", "groups"} <= set(document["scopes_supported"])


# --- Requests of stock clients ---------------------------------------------------------------------------------------


def secret_client(site: Installation, *more: str, **settings: Any) -> tuple[Client, dict[str, str]]:
    """A confidential client with a secret, and its credentials."""
    exceptions = ["bearer_tokens", "client_secret", "unpushed_requests", *more]
    given_settings = {"grant_types": ["authorization_code"], "redirect_uris": [CALLBACK], **settings}
    made = register(site, token_endpoint_auth_method="client_secret_post", fapi_exceptions=exceptions, **given_settings)
    from tests.oauth_client import api

    secret = json.loads(api(site, "POST", f"{made.path}/secrets").body)["client_secret"]
    return made, {"client_id": made.id, "client_secret": secret}


def test_confidential_client_without_pkce_is_served_if_its_settings_say_so(site: Installation, ann: str) -> None:
    browser, without = signed_in(site, ann), {"code_challenge": "", "code_challenge_method": ""}
    strict, _ = secret_client(site)
    assert query_of(browser.get(target(strict, **without)))["error"] == "invalid_request"
    client, credentials = secret_client(site, "pkce")
    code = allowed(browser, target(client, **without))["code"]
    assert members(redeemed(client, code, **credentials))["error"] == "invalid_grant"  # a verifier without a challenge
    code = allowed(browser, target(client, **without))["code"]
    assert redeemed(client, code, code_verifier="", **credentials).status == 200
    code = allowed(browser, target(client))["code"]  # one that sends a challenge is held to it
    assert members(redeemed(client, code, code_verifier="", **credentials))["error"] == "invalid_request"


def test_public_client_cannot_be_registered_without_pkce(site: Installation) -> None:
    with pytest.raises(AssertionError, match="fapi_exceptions"):
        web_client(site, fapi_exceptions=["pkce"])


def test_localhost_is_a_redirect_uri_of_native_clients_with_any_port(site: Installation, ann: str) -> None:
    client, browser = web_client(site, redirect_uris=["http://localhost/cb"]), signed_in(site, ann)
    page = browser.get(target(client, redirect_uri="http://localhost:8000/cb"))
    assert "an application on this computer" in text(page)
    for wrong in ("http://localhost:8000/other", "http://localhost.evil.example/cb", "https://localhost:8000/cb"):
        assert browser.get(target(client, redirect_uri=wrong)).status == 400
    with pytest.raises(AssertionError, match="redirect_uris"):
        secret_client(site, redirect_uris=["http://localhost/cb"])


def test_single_redirect_uri_may_be_omitted_without_openid(site: Installation, ann: str) -> None:
    client, browser = web_client(site, audiences=["https://api.example"]), signed_in(site, ann)
    omitted = {"redirect_uri": "", "scope": "", "resource": "https://api.example"}
    code = allowed(browser, target(client, **omitted))["code"]
    sent = {"client_id": client.id, "code": code, "code_verifier": VERIFIER}
    assert client.token(grant="authorization_code", dpop=None, **sent).status == 200
    code = allowed(browser, target(client, **omitted))["code"]
    assert members(redeemed(client, code, redirect_uri="https://app.example/other"))["error"] == "invalid_grant"
    assert query_of(browser.get(target(client, redirect_uri="")))["error"] == "invalid_request"
    several = web_client(site, redirect_uris=[CALLBACK, "https://app.example/2"], audiences=["https://api.example"])
    assert browser.get(target(several, **omitted)).status == 400


def test_request_without_scope_has_the_clients_default_or_is_an_invalid_scope(site: Installation, ann: str) -> None:
    browser, client = signed_in(site, ann), web_client(site, default_scopes=["openid", "email"])
    response = given(redeemed(client, allowed(browser, target(client, scope=""))["code"]))
    assert verified(site, response["id_token"], client.id)["email"] == "ann@tag.example"
    assert query_of(browser.get(target(web_client(site), scope="")))["error"] == "invalid_scope"


def test_client_without_default_scopes_of_its_own_is_not_registered(site: Installation) -> None:
    with pytest.raises(AssertionError, match="default_scopes"):
        web_client(site, default_scopes=["read"])


def posted(site: Installation, *headers: tuple[bytes, bytes], **form: str) -> Answer:
    return site.send("POST", [*FORM, *headers], urlencode(form).encode(), path=b"/oauth2/userinfo")


def test_userinfo_takes_the_token_in_a_form_and_not_in_two_ways(site: Installation, ann: str) -> None:
    client = web_client(site)
    token = given(redeemed(client, allowed(signed_in(site, ann), target(client))["code"]))["access_token"]
    assert members(posted(site, access_token=token))["preferred_username"] == ann
    assert posted(site, bearer(token), access_token=token).status == 400
    assert posted(site, access_token=token[:-4] + "AAAA").status == 401
    assert posted(site, other="x").status == 401
    in_query = site.send("GET", path=b"/oauth2/userinfo", query=urlencode({"access_token": token}).encode())
    assert in_query.status == 401


def test_assertion_for_the_token_endpoint_is_accepted_of_the_client_that_needs_it(site: Installation) -> None:
    exceptions = ["bearer_tokens", "token_endpoint_audience"]
    strict, lenient = (register(site, fapi_exceptions=each, roles=["*"]) for each in (["bearer_tokens"], exceptions))
    for audience, codes in (
        (f"{BASE}/oauth2/token", ("invalid_client", "invalid_request")),
        (BASE, ("invalid_request",) * 2),
    ):
        for client, code in zip((strict, lenient), codes, strict=True):
            answer = client.token(**client.credentials(aud=audience))
            refusal(site, answer, code, answer.status)
    both = lenient.token(**lenient.credentials(aud=[BASE, f"{BASE}/oauth2/token"]))
    refusal(site, both, "invalid_client", 401)


def test_metadata_document_with_one_unusable_uri_is_used_without_it() -> None:
    url, limits = "https://app.example/client.json", ClientSettings(grant_types=("authorization_code",))
    uris = ["https://app.example/cb", "http://app.example/cb", "http://localhost:3000/cb", "javascript:x"]
    _, made = read_document(url, json.dumps({"client_id": url, "redirect_uris": uris}).encode(), limits)
    assert made.redirect_uris == ("https://app.example/cb", "http://localhost:3000/cb")
    with pytest.raises(ValueError, match="redirect_uris"):
        read_document(url, json.dumps({"client_id": url, "redirect_uris": uris[1:2]}).encode(), limits)
