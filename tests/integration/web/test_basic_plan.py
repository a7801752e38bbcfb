"""The steps of the OpenID Connect Basic OP certification plan, from its description: the suite of the OpenID Foundation is a Java
program that no registry has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import Answer, Installation
from tests.browser import BASE, Browser, query_of
from tests.integration.web.test_claims import posted, userinfo
from tests.oauth import FORM, bearer, given, verified
from tests.oauth_client import api, register
from tests.sign_in import CALLBACK, CHALLENGE, VERIFIER, allowed, members, signed_in, site_with_pages, user

pytestmark = pytest.mark.slow
OTHER = "https://app.example/other"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("site")) as made:
        yield made


# --- OpenID Connect Basic OP -----------------------------------------------------------------------------------------


class Party:
    """A relying party of the plan: a confidential client with a secret, without PKCE and pushed requests."""

    def __init__(self, site: Installation, method: str = "client_secret_basic", **settings: Any) -> None:
        exceptions = ["bearer_tokens", "client_secret", "pkce", "unpushed_requests"]
        given_settings = {
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": [CALLBACK],
            "id_token_signed_response_alg": "RS256",
            **settings,
        }
        self.site, self.method = site, method
        self.client = register(site, token_endpoint_auth_method=method, fapi_exceptions=exceptions, **given_settings)
        self.secret = json.loads(api(site, "POST", f"{self.client.path}/secrets").body)["client_secret"]

    def address(self, **changes: str) -> str:
        asked = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s-1",
            "nonce": "n-1",
            **changes,
        }
        return f"/oauth2/authorize?{urlencode({name: value for name, value in asked.items() if value})}"

    def token(self, grant: str = "authorization_code", **form: str) -> Answer:
        form |= {"grant_type": grant}
        headers = list(FORM)
        if self.method == "client_secret_post":
            form |= {"client_id": self.client.id, "client_secret": self.secret}
        else:
            pair = base64.b64encode(f"{self.client.id}:{self.secret}".encode())
            headers.append((b"authorization", b"Basic " + pair))
        return self.site.send("POST", headers, urlencode(form).encode(), path=b"/oauth2/token")

    def redeemed(self, back: dict[str, str]) -> dict[str, Any]:
        return given(self.token(code=back["code"], redirect_uri=CALLBACK))

    def signed_in(self, browser: Browser, **changes: str) -> dict[str, Any]:
        """The answer of the token endpoint, with the claims of the ID token as `claims`."""
        back = allowed(browser, self.address(**changes))
        assert back["state"] == "s-1"
        response = self.redeemed(back)
        return {**response, "claims": verified(self.site, response["id_token"], self.client.id)}


@pytest.fixture(scope="module")
def party(site: Installation) -> Party:
    return Party(site)


@pytest.fixture
def ann(site: Installation) -> Browser:
    name = user(site)
    site.iam("TagUser", UserName=name, **{"Tags.member.1.Key": "email", "Tags.member.1.Value": "ann@example.com"})
    return signed_in(site, name)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_oidcc_server_and_client_secret_post(site: Installation, ann: Browser, method: str) -> None:
    response = Party(site, method).signed_in(ann)
    assert (response["token_type"], response["claims"]["nonce"]) == ("Bearer", "n-1")
    assert response["claims"]["iat"] <= site.wall.time // 1000 < response["claims"]["exp"]


def test_oidcc_response_type_missing(party: Party, ann: Browser) -> None:
    assert query_of(ann.get(party.address(response_type="")))["error"] == "invalid_request"


def test_oidcc_userinfo_by_get_header_and_body(site: Installation, party: Party, ann: Browser) -> None:
    response = party.signed_in(ann)
    token, sub = response["access_token"], response["claims"]["sub"]
    by_header = site.send("POST", [bearer(token)], path=b"/oauth2/userinfo")
    answers = [userinfo(site, token), members(by_header), members(posted(site, access_token=token))]
    assert [answer["sub"] for answer in answers] == [sub] * 3


def test_oidcc_request_without_nonce_succeeds(party: Party, ann: Browser) -> None:
    assert "nonce" not in party.signed_in(ann, nonce="")["claims"]


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("openid profile", {"name", "preferred_username"}),
        ("openid email", {"email", "email_verified"}),
        ("openid address", set()),
        ("openid phone", set()),
        ("openid profile email address phone", {"name", "email"}),
        ("email openid", {"email"}),
    ],
)
def test_oidcc_scopes(site: Installation, party: Party, ann: Browser, scope: str, names: set[str]) -> None:
    response = party.signed_in(ann, scope=scope)
    assert names <= userinfo(site, response["access_token"]).keys()
    assert set(response["scope"].split()) == set(scope.split())


@pytest.mark.parametrize(
    "more",
    [
        {"display": "page"},
        {"display": "popup"},
        {"extra": "foobar"},
        {"login_hint": "ann@example.com"},
        {"ui_locales": "se"},
        {"claims_locales": "se"},
        {"acr_values": "1 2"},
        {"max_age": "10000"},
    ],
)
def test_oidcc_parameters_that_need_no_support_do_not_fail(party: Party, ann: Browser, more: dict[str, str]) -> None:
    assert "auth_time" in party.signed_in(ann, **more)["claims"]


def test_oidcc_prompt_login_and_max_age_1_sign_in_again(site: Installation, party: Party, ann: Browser) -> None:
    first = party.signed_in(ann)["claims"]
    site.wall.time += 5_000
    for more in ({"prompt": "login"}, {"max_age": "1"}):
        answer = ann.get(party.address(**more))
        assert answer.headers["location"].startswith("/login"), more
    assert party.signed_in(ann)["claims"]["auth_time"] == first["auth_time"]


def test_oidcc_prompt_none(site: Installation, party: Party, ann: Browser) -> None:
    assert query_of(Browser(site).get(party.address(prompt="none")))["error"] == "login_required"
    assert query_of(ann.get(party.address(prompt="none")))["error"] == "consent_required"
    page = ann.get(party.address())
    first = party.redeemed(query_of(ann.submit(page, "/oauth2/authorize/consent", decision="allow", remember="yes")))
    back = query_of(ann.get(party.address(prompt="none")))
    claims = verified(site, party.redeemed(back)["id_token"], party.client.id)
    before = verified(site, first["id_token"], party.client.id)
    assert (claims["sub"], claims["auth_time"]) == (before["sub"], before["auth_time"])


def test_oidcc_id_token_hint(site: Installation, party: Party, ann: Browser) -> None:
    hint = party.signed_in(ann)["id_token"]
    assert "code" in allowed(ann, party.address(id_token_hint=hint))
    other = signed_in(site, user(site))
    assert query_of(other.get(party.address(id_token_hint=hint, prompt="none")))["error"] == "login_required"


@pytest.mark.parametrize("seconds", [0, 30])
def test_oidcc_codereuse(site: Installation, party: Party, ann: Browser, seconds: int) -> None:
    back = allowed(ann, party.address())
    token = party.redeemed(back)["access_token"]
    site.wall.time += seconds * 1000
    again = party.token(code=back["code"], redirect_uri=CALLBACK)
    assert (again.status, members(again)["error"]) == (400, "invalid_grant")
    assert site.send("GET", [bearer(token)], path=b"/oauth2/userinfo").status == 401


def test_oidcc_registered_redirect_uri(party: Party, ann: Browser) -> None:
    for wrong in (OTHER, f"{CALLBACK}?foo=bar"):
        answer = ann.get(party.address(redirect_uri=wrong))
        assert (answer.status, answer.headers.get("location")) == (400, None)
    assert (
        members(party.token(code=allowed(ann, party.address())["code"], redirect_uri=OTHER))["error"] == "invalid_grant"
    )


def test_oidcc_post_request_succeeds(site: Installation, party: Party, ann: Browser) -> None:
    query = party.address().partition("?")[2].encode()
    answer = site.send("POST", [*FORM, (b"origin", b"https://app.example")], query, path=b"/oauth2/authorize")
    assert party.redeemed(allowed(ann, answer.headers["location"]))["id_token"]


def test_oidcc_request_objects_are_rejected_as_unsupported(site: Installation, party: Party, ann: Browser) -> None:
    assert query_of(ann.get(party.address(request="e30.e30.")))["error"] == "request_not_supported"
    found = members(site.send("GET", path=b"/.well-known/openid-configuration"))
    assert found["request_uri_parameter_supported"] is False


def test_oidcc_refresh_token(site: Installation, party: Party, ann: Browser) -> None:
    first = party.signed_in(ann, scope="openid offline_access")
    second = given(party.token("refresh_token", refresh_token=first["refresh_token"]))
    claims = verified(site, second["id_token"], party.client.id)
    for name in ("iss", "sub", "aud", "auth_time"):
        assert claims[name] == first["claims"][name]
    other = Party(site)
    assert members(other.token("refresh_token", refresh_token=second["refresh_token"]))["error"] == "invalid_grant"


def test_oidcc_request_with_valid_pkce_succeeds(party: Party, ann: Browser) -> None:
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    code = allowed(ann, party.address(**asked))["code"]
    assert party.token(code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER).status == 200


def test_oidcc_discovery(site: Installation) -> None:
    found = members(site.send("GET", path=b"/.well-known/openid-configuration"))
    assert found["issuer"] == BASE
    assert "RS256" in found["id_token_signing_alg_values_supported"]
    assert found["response_types_supported"] == ["code"]
    for name in (
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "subject_types_supported",
    ):
        assert found[name]
    keys = members(site.send("GET", path=b"/.well-known/jwks.json"))["keys"]
    assert all(key["kid"] and not key.keys() & {"d", "p", "q", "k"} for key in keys)
