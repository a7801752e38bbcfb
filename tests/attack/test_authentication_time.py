"""Attack A224: an old sign-in at a provider passes for a fresh one in the tokens that were made from it (RFC 9068, 2.2.1;
RFC 9470, 6.2).
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.attack.installation import Answer, Installation
from tests.attack.tokens import bring, trust_in
from tests.attack.tokens import provider as provider_in
from tests.browser import Browser
from tests.fake_network import FakeNetwork
from tests.issuer import Issuer
from tests.oauth import bearer, given, post, verified
from tests.oauth_client import Client
from tests.sign_in import allowed, members, redeemed, role_for, target, web_client
from tests.sign_in_provider import Person, Provider, came_back, net, site

__all__ = ["net", "site"]

HOURS = 7_200


@pytest.fixture(scope="module")
def provider(site: Installation, net: FakeNetwork) -> Provider:
    made = Provider(site, net)
    return made.registered(made.role("web-staff"), name_claim="email")


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    return web_client(site, grant_types=["authorization_code", "refresh_token"])


def code_redeemed(site: Installation, provider: Provider, client: Client, role: str = "", **claims: object) -> Answer:
    """The tokens of a code, or their refusal, for a person who signed in with these claims of the provider's ID token."""
    browser = Browser(site)
    assert came_back(browser, provider, Person(claims={"email": "ann@example.com", **claims})).status == 303
    code = allowed(browser, target(client, **({"role": role} if role else {})))["code"]
    return redeemed(client, code)


def said(site: Installation, text: str, audience: str | None = None) -> tuple[int, str, list[str]]:
    claims = verified(site, text, audience) if audience else verified(site, text)
    return claims["auth_time"], claims["acr"], claims.get("amr", [])


def test_a224_old_sign_in_at_a_provider_is_old_in_every_token_made_from_it(
    site: Installation, provider: Provider, client: Client
) -> None:
    at = site.now() // 1000 - HOURS
    role = role_for(site, "orders")
    for chosen in ("", role):
        response = given(code_redeemed(site, provider, client, chosen, auth_time=at, amr=["pwd", "mfa"]))
        expected = (at, "urn:daypass:acr:mfa", ["pwd", "mfa"])
        assert said(site, response["id_token"], client.id) == expected
        assert said(site, response["access_token"]) == expected
        shown = post(
            site, "/oauth2/introspect", [("token", response["access_token"])], bearer(response["access_token"])
        )
        assert (members(shown)["auth_time"], members(shown)["amr"]) == (at, ["pwd", "mfa"])
        renewed = given(
            client.token(grant="refresh_token", client_id=client.id, refresh_token=response["refresh_token"])
        )
        assert said(site, renewed["access_token"]) == expected


@pytest.mark.parametrize("claims", [{}, {"auth_time": 2**33}, {"auth_time": "long ago"}, {"auth_time": -5}])
def test_a224_sign_in_without_a_usable_time_is_of_now_and_never_later(
    site: Installation, provider: Provider, client: Client, claims: dict[str, Any]
) -> None:
    before = site.now() // 1000
    response = given(code_redeemed(site, provider, client, **claims))
    for at, acr, amr in (said(site, response["id_token"], client.id), said(site, response["access_token"])):
        assert before <= at <= site.now() // 1000
        assert (acr, amr) == ("urn:daypass:acr:single-factor", [])


def test_a224_role_that_demands_a_recent_sign_in_refuses_an_old_one(
    site: Installation, provider: Provider, client: Client
) -> None:
    now = site.now() // 1000
    recent = {"NumericGreaterThan": {"daypass:AuthTime": str(now - 600)}}
    role = role_for(site, "sensitive", Condition={**recent, "ForAnyValue:StringEquals": {"daypass:Amr": "mfa"}})
    fresh = {"auth_time": now - 300, "amr": ["otp", "mfa"]}
    for wrong in ({"auth_time": now - HOURS}, {"auth_time": None}, {"amr": ["otp"]}):
        answer = code_redeemed(site, provider, client, role, **{**fresh, **wrong})
        assert answer.status == 400, wrong
        assert site.records(answer.request_id)[-1]["error"] == "access_denied"
    assert code_redeemed(site, provider, client, role, **fresh).status == 200


def test_a224_role_that_demands_a_recent_sign_in_refuses_an_old_token_of_its_provider(site: Installation) -> None:
    """By AssumeRoleWithWebIdentity. A provider whose clock is ahead makes no sign-in newer than now."""
    issuer, now = Issuer("direct.example.com", alg="ES256"), site.now() // 1000
    condition = {
        "NumericGreaterThan": {"daypass:AuthTime": str(now - 600)},
        "NumericLessThan": {"daypass:AuthTime": str(now + 600)},
        "ForAnyValue:StringEquals": {"daypass:Amr": "mfa"},
    }
    role = site.role("recent", trust_in(provider_in(site, issuer).arn, **condition))
    fresh = {"auth_time": now - 300, "amr": ["otp", "mfa"]}
    for wrong in (
        {"auth_time": now - HOURS},
        {"auth_time": None},
        {"auth_time": True},
        {"amr": ["otp"]},
        {"amr": "mfa"},
    ):
        answer = bring(site, role, issuer.token(site.now(), **{**fresh, **wrong}))
        assert answer.status == 403, wrong
        assert site.records(answer.request_id)[-1]["error"] == "access_denied"
    for right in ({}, {"auth_time": now + 10**8}):
        assert bring(site, role, issuer.token(site.now(), **{**fresh, **right})).status == 200, right
