"""A person's session that three services pass on: every one stays in `act`, none can be left out, each revocation ends it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.attack.installation import ROOT
from tests.attack.tokens import trust_in
from tests.integration.oauth.conftest import World
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    EXCHANGE,
    ID_TOKEN,
    ISSUER,
    SESSION,
    bearer,
    details,
    exchange,
    given,
    refusal,
    signed_post,
    token,
    verified,
)
from tests.oauth_client import api

SERVICES = ("service-1", "service-2", "service-3")


class Chain:
    """Roles of three services, and a person's token that is meant for all of them. `passed`: the tokens, oldest first."""

    def __init__(self, world: World, prefix: str = "") -> None:
        self.world, self.site = world, world.site
        self.roles = [
            world.site.role(prefix + name, trust_in(world.provider, StringEquals={"idp.example.com:sub": name}))
            for name in SERVICES
        ]
        audiences = [("audience", role) for role in (*self.roles, "https://d.example")]
        subject = [("grant_type", EXCHANGE), ("subject_token", world.id_token()), ("subject_token_type", ID_TOKEN)]
        self.passed = [given(token(world.site, [*subject, ("role", world.person), *audiences]))["access_token"]]
        self.actors = [
            given(exchange(world.site, world.id_token(name), ID_TOKEN, role=role))["access_token"]
            for name, role in zip(SERVICES, self.roles, strict=True)
        ]
        for at in range(3):
            after = [("audience", role) for role in (*self.roles[at + 1 :], "https://d.example")]
            self.passed.append(given(token(world.site, [*self.pairs(at), *after]))["access_token"])

    def pairs(self, at: int, actor: int | None = None) -> list[tuple[str, str]]:
        """The request of a service that passes on what it has received; or of another one with the same token."""
        acting = self.actors[at if actor is None else actor]
        return [
            *(("grant_type", EXCHANGE), ("subject_token", self.passed[at]), ("subject_token_type", ACCESS_TOKEN)),
            *(("actor_token", acting), ("actor_token_type", ACCESS_TOKEN)),
        ]

    def claims(self, text: str) -> dict[str, Any]:
        return verified(self.site, text, "https://d.example")


@pytest.fixture(scope="module")
def chain(world: World) -> Chain:
    return Chain(world)


def parties(claims: dict[str, Any]) -> list[str]:
    found, act = [], claims.get("act")
    while act is not None:
        found.append(act["sub"])
        act = act.get("act")
    return found


def test_a118_last_token_names_every_service_newest_first(chain: Chain) -> None:
    first, last = (chain.claims(chain.passed[at]) for at in (0, 3))
    services = [verified(chain.site, text)["sub"] for text in chain.actors]
    named = parties(last)
    assert last["sub"] == first["sub"]
    assert [sub for sub in named if sub in services] == services[::-1]
    assert last["exp"] <= first["exp"]
    assert last["auth_time"] == first["auth_time"]


def test_a118_service_that_is_not_meant_or_leaves_itself_out_is_refused(chain: Chain) -> None:
    for at, actor in ((1, 0), (2, 0), (2, 1), (3, 0), (3, 2)):  # the token is meant for later services alone
        refusal(chain.site, token(chain.site, chain.pairs(at, actor)), "invalid_request")
    for text in chain.passed:
        refusal(chain.site, exchange(chain.site, text, ACCESS_TOKEN), "invalid_request")
        refusal(chain.site, exchange(chain.site, text, ACCESS_TOKEN, requested_token_type=AWS), "invalid_request")
    wider = [("audience", chain.roles[0]), ("audience", "https://d.example")]
    refusal(chain.site, token(chain.site, [*chain.pairs(1), *wider]), "invalid_target")


@pytest.mark.parametrize("at", range(3))
def test_a118_revoking_the_session_of_any_service_ends_the_last_token(world: World, at: int) -> None:
    chain = Chain(world, f"{at}-")
    session = verified(chain.site, chain.actors[at])[SESSION]["id"]
    assert introspected(chain)["active"] is True
    assert api(chain.site, "POST", "/revocations", {"subject": "session", "value": session}).status == 201
    assert introspected(chain) == {"active": False}


def introspected(chain: Chain) -> dict[str, Any]:
    """The last token, as an administrator sees it."""
    return given(signed_post(chain.site, ROOT, "/oauth2/introspect", [("token", chain.passed[3])]))


# --- may_act of tokens of this server --------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["session", "role"])
def test_a118_may_act_is_issued_and_its_token_is_good_for_its_party_alone(world: World, *, whole: bool) -> None:
    site, own = world.site, world.service_token()
    sub = verified(site, own)["sub"]
    asked = details(may_act={"sub": sub if whole else sub.partition(":")[0]})
    text = given(exchange(site, world.person_token(), ACCESS_TOKEN, authorization_details=asked))["access_token"]
    claims = verified(site, text)
    assert claims["may_act"] == {"iss": ISSUER, "sub": json.loads(asked)[0]["may_act"]["sub"]}
    stranger = world.person_token()
    for more in (
        {},
        {"role": world.target},
        {"requested_token_type": AWS},
        {"actor_token": stranger, "actor_token_type": ACCESS_TOKEN},
    ):
        record = refusal(site, exchange(site, text, ACCESS_TOKEN, **more), "invalid_request")
        assert record["detail"]["private"]["reason"] == "the actor is not the party in may_act"
    as_actor = {"actor_token": text, "actor_token_type": ACCESS_TOKEN}
    refusal(site, exchange(site, stranger, ACCESS_TOKEN, **as_actor), "invalid_request")
    assert site.send("GET", [bearer(text)], path=b"/oauth2/userinfo").status == 401
    response = given(exchange(site, text, ACCESS_TOKEN, actor_token=own, actor_token_type=ACCESS_TOKEN))
    acting = verified(site, response["access_token"])
    assert "may_act" not in acting
    assert sub in json.dumps(acting["act"])


def test_may_act_where_it_would_have_no_effect_is_refused(world: World) -> None:
    asked = details(may_act={"sub": "AROAX"})
    for more in ({"requested_token_type": AWS}, {"requested_token_type": ID_TOKEN, "audience": "https://a.test"}):
        answer = exchange(world.site, world.person_token(), ACCESS_TOKEN, authorization_details=asked, **more)
        assert json.loads(answer.body)["error"] in ("invalid_authorization_details", "invalid_request")
    for wrong in ("x", {}, {"sub": 5}, {"sub": "a", "act": {"sub": "b"}}, {"sub": "a", "x": 1}):
        answer = exchange(world.site, world.person_token(), ACCESS_TOKEN, authorization_details=details(may_act=wrong))
        refusal(world.site, answer, "invalid_authorization_details")
