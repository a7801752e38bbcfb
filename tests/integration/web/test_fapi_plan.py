"""The steps of the FAPI 2.0 Security Profile plan for OPs (private_key_jwt, DPoP), and of MCP's scenarios for authorization servers,
`authorization-server-metadata` and `authorization-code-grant`, from their descriptions: no registry has suites that run them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import Answer, Installation
from tests.browser import BASE, Browser, query_of
from tests.integration.web.test_basic_plan import OTHER, ann, site
from tests.issuer import make_key, public_jwk
from tests.oauth import FORM, bearer, given, verified
from tests.oauth_client import Client, DpopKey, register
from tests.sign_in import CALLBACK, CHALLENGE, VERIFIER, allowed, members

__all__ = ["ann", "site"]

pytestmark = pytest.mark.slow


# --- FAPI 2.0 Security Profile ---------------------------------------------------------------------------------------


class Bank(Client):
    """A client of the FAPI plan, with a DPoP key: all its requests are pushed."""

    @classmethod
    def made(cls, site: Installation) -> Bank:
        key = make_key("ES256")
        jwks = {"keys": [public_jwk(key, kid="k1", alg="ES256", use="sig")]}
        grants = ["authorization_code", "refresh_token"]
        found = register(
            site, jwks=jwks, token_endpoint_auth_method="private_key_jwt", grant_types=grants, redirect_uris=[CALLBACK]
        )
        bank = cls(site, found.id, found.arn, key)
        bank.dpop = DpopKey(site)
        bank.dpop.take(bank.token(grant="refresh_token", dpop=bank.dpop, refresh_token="x"))
        return bank

    dpop: DpopKey

    def push(self, **changes: str) -> Answer:
        asked = {
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s",
            "nonce": "n",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **self.credentials(),
            **changes,
        }
        form = urlencode({name: value for name, value in asked.items() if value}).encode()
        return self.site.send("POST", list(FORM), form, path=b"/oauth2/par")

    def at(self, answer: Answer) -> str:
        assert answer.status == 201, answer.body
        return f"/oauth2/authorize?{urlencode({'client_id': self.id, 'request_uri': members(answer)['request_uri']})}"

    def redeem(self, back: dict[str, str], **changes: str) -> Answer:
        sent = {"code": back["code"], "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **changes}
        answer = self.token(grant="authorization_code", dpop=self.dpop, **sent)
        if members(answer).get("error") != "use_dpop_nonce":
            return answer
        return self.token(grant="authorization_code", dpop=self.dpop, **sent)


@pytest.fixture(scope="module")
def bank(site: Installation) -> Bank:
    return Bank.made(site)


def test_fapi2_happy_flow(site: Installation, bank: Bank, ann: Browser) -> None:
    pushed = bank.push()
    assert 5 <= members(pushed)["expires_in"] < 600
    back = allowed(ann, bank.at(pushed))
    assert (back["iss"], back["state"]) == (BASE, "s")
    response = given(bank.redeem(back))
    assert response["token_type"] == "DPoP"
    claims = verified(site, response["access_token"])
    assert claims["cnf"] == {"jkt": bank.dpop.thumbprint}
    assert verified(site, response["id_token"], bank.id)["nonce"] == "n"


def test_fapi2_requests_must_be_pushed_once_and_by_their_client(site: Installation, bank: Bank, ann: Browser) -> None:
    plain = urlencode({"client_id": bank.id, "response_type": "code", "redirect_uri": CALLBACK, "scope": "openid"})
    assert query_of(ann.get(f"/oauth2/authorize?{plain}"))["error"] == "invalid_request"
    address = bank.at(bank.push())
    allowed(ann, address)
    assert ann.get(address).status == 400
    other = Bank.made(site)
    assert ann.get(bank.at(bank.push()).replace(bank.id, other.id)).status == 400
    late = bank.at(bank.push())
    site.wall.time += 600_000
    assert ann.get(late).status == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request_uri": "urn:x"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
    ],
)
def test_fapi2_pushed_request_that_is_not_allowed_is_refused(bank: Bank, changes: dict[str, str], error: str) -> None:
    answer = bank.push(**changes)
    assert (answer.status, members(answer)["error"]) == (400, error)


def test_fapi2_redirect_uri_that_is_not_registered_is_refused(bank: Bank) -> None:
    assert bank.push(redirect_uri=OTHER).status == 400
    assert bank.push(redirect_uri="").status == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{BASE}/oauth2/token"},
        {"aud": [BASE]},
        {"aud": [BASE, "https://other.example"]},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"sub": "someone"},
        {"iss": "someone"},
        {"header": {"alg": "RS256"}},
        {"header": {"alg": "none"}},
    ],
)
def test_fapi2_client_assertion_that_is_not_exactly_right_is_refused(bank: Bank, changes: dict[str, Any]) -> None:
    answer = bank.push(**bank.credentials(**changes))
    assert (answer.status, members(answer)["error"]) == (401, "invalid_client")


def test_fapi2_assertion_a_few_seconds_in_the_future_is_accepted(site: Installation, bank: Bank) -> None:
    now = site.wall.time // 1000
    assert bank.push(**bank.credentials(iat=now + 8, nbf=now + 8)).status == 201


def test_fapi2_code_is_of_its_client_verifier_and_time(site: Installation, bank: Bank, ann: Browser) -> None:
    for spoilt in ({"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": OTHER}):
        answer = bank.redeem(allowed(ann, bank.at(bank.push())), **spoilt)
        assert members(answer)["error"] in ("invalid_grant", "invalid_request")
    other = Bank.made(site)
    assert members(other.redeem(allowed(ann, bank.at(bank.push()))))["error"] == "invalid_grant"
    back = allowed(ann, bank.at(bank.push()))
    site.wall.time += 61_000
    assert members(bank.redeem(back))["error"] == "invalid_grant"


def test_fapi2_dpop_is_required_and_checked(site: Installation, bank: Bank, ann: Browser) -> None:
    back = allowed(ann, bank.at(bank.push()))
    sent = {"code": back["code"], "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    assert bank.token(grant="authorization_code", dpop=None, **sent).status == 400
    token = given(bank.redeem(back))["access_token"]
    path = b"/oauth2/userinfo"
    assert site.send("GET", [bearer(token)], path=path).status == 401
    proof = bank.dpop.header("/oauth2/userinfo", "GET", token)
    scheme = (b"authorization", f"DPoP {token}".encode())
    assert bank.dpop.take(site.send("GET", [scheme, proof], path=path)).status == 200
    assert site.send("GET", [scheme, proof], path=path).status == 401  # a proof is good once
    thief = DpopKey(site, nonce=bank.dpop.nonce)
    assert site.send("GET", [scheme, thief.header("/oauth2/userinfo", "GET", token)], path=path).status == 401


def test_fapi2_refresh_token_is_bound_to_its_client(site: Installation, bank: Bank, ann: Browser) -> None:
    first = given(bank.redeem(allowed(ann, bank.at(bank.push()))))
    other = Bank.made(site)
    refused_ = other.token(grant="refresh_token", dpop=other.dpop, refresh_token=first["refresh_token"])
    assert members(refused_)["error"] == "invalid_grant"
    second = given(bank.token(grant="refresh_token", dpop=bank.dpop, refresh_token=first["refresh_token"]))
    assert second["token_type"] == "DPoP"


# --- MCP's scenarios for authorization servers -----------------------------------------------------------------------


def test_mcp_authorization_server_metadata(site: Installation) -> None:
    answer = site.send("GET", path=b"/.well-known/oauth-authorization-server")
    found = members(answer)
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "application/json")
    assert found["issuer"] == BASE
    assert found["authorization_endpoint"]
    assert found["token_endpoint"]
    assert "code" in found["response_types_supported"]
    assert "S256" in found["code_challenge_methods_supported"]


def test_mcp_authorization_code_grant_asks_for_no_scope_and_no_resource(site: Installation, ann: Browser) -> None:
    redirect = "http://127.0.0.1:3333/callback"
    settings = {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
        "redirect_uris": ["http://127.0.0.1/callback"],
    }
    asked = {"response_type": "code", "state": "s", "redirect_uri": redirect, "code_challenge_method": "S256"}
    without, client = register(site, **settings), register(site, default_scopes=["openid"], **settings)

    def address(of: Client) -> str:
        return f"/oauth2/authorize?{urlencode({**asked, 'client_id': of.id, 'code_challenge': CHALLENGE})}"

    assert query_of(ann.get(address(without)))["error"] == "invalid_scope"
    back = allowed(ann, address(client))
    assert (back["state"], back["iss"]) == ("s", BASE)
    sent = {"client_id": client.id, "code": back["code"], "redirect_uri": redirect, "code_verifier": VERIFIER}
    answer = client.token(grant="authorization_code", dpop=None, **sent)
    assert (answer.headers["content-type"].split(";")[0], answer.headers["cache-control"]) == (
        "application/json",
        "no-store",
    )
    assert given(answer)["token_type"] == "Bearer"
