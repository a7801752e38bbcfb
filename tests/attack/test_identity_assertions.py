"""Identity assertion grants (ID-JAG): one installation issues them, another redeems them, and attacks on both."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jwt
import pytest
from tests.attack.installation import ALPHA, EVERYTHING, Answer, Installation, document, trust
from tests.attack.meanwhile import EXPENSIVE, change, slowly
from tests.attack.tokens import bring, provider, trust_in
from tests.issuer import Issuer
from tests.oauth import (
    ACCESS_TOKEN,
    BEARER,
    EXCHANGE,
    ID_TOKEN,
    ISSUER,
    PRESIGNED,
    SAML2,
    authorization_server,
    exchange,
    given,
    presigned,
    refusal,
)
from tests.oauth_client import Client, register
from tests.saml_idp import Response, metadata

from daypass.domain.directory import OAuthClient

RESOURCE_SERVER = "https://resource.test"
API = "https://api.resource.test"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
TYPE = "oauth-id-jag+jwt"
CONFIDENTIAL = {"fapi_exceptions": ["bearer_tokens"], "roles": ["*"], "scopes": ["read", "write"]}


@dataclass(frozen=True)
class World:
    """The person's installation with its client, and the resource's with the same application's client there."""

    home: Installation
    resource: Installation
    here: Client
    there: Client
    person: str  # access token of a person's session at home
    stranger: str  # of a role without permissions
    role: str  # at the resource

    def asked(self, client: Client | None = None, **more: str) -> Answer:
        """An exchange for an assertion."""
        own = {"subject_token": self.person, "subject_token_type": ACCESS_TOKEN, "audience": RESOURCE_SERVER}
        return (client or self.here).token(grant=EXCHANGE, **{**own, "requested_token_type": ID_JAG, **more})

    def assertion(self, **more: str) -> str:
        return str(given(self.asked(**more))["access_token"])

    def redeemed(self, text: str, client: Client | None = None, **more: str) -> Answer:
        sender = client or self.there
        own = sender.credentials(aud=RESOURCE_SERVER)
        return sender.token(grant=BEARER, assertion=text, role=self.role, **own, **more)


def _access_token(site: Installation, role: str, key: Any) -> str:
    session = site.assume(key, role, "ann").key
    return str(given(exchange(site, presigned(site, session), PRESIGNED))["access_token"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        authorization_server(tmp_path_factory.mktemp("home")) as home,
        authorization_server(
            tmp_path_factory.mktemp("resource"), home.wall, server={"public_url": RESOURCE_SERVER}
        ) as resource,
    ):
        arn, key = home.user("ann", policy=EVERYTHING)
        policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*"})
        person = _access_token(home, home.role("person", trust(arn), policy=policy), key)
        stranger = _access_token(home, home.role("stranger", trust(arn)), key)
        grants = {"audiences": [API, RESOURCE_SERVER], "grant_types": [BEARER, EXCHANGE], **CONFIDENTIAL}
        there = register(resource, **grants)
        external = {"external_client_ids": {RESOURCE_SERVER: there.id}}
        here = register(home, grant_types=[EXCHANGE], **CONFIDENTIAL, **external)
        issuer = Issuer(ISSUER.removeprefix("https://"), "ES256")
        keys = home.send("GET", path=b"/.well-known/jwks.json").body.decode()
        made = provider(resource, issuer, client_ids=(RESOURCE_SERVER,), static_jwks=keys, token_types=["JWT", TYPE])
        role = resource.role("reader", trust_in(made.arn, StringEquals={"daypass.test:aud": RESOURCE_SERVER}))
        yield World(home, resource, here, there, person, stranger, role)


def test_a617_assertion_whose_client_is_disabled_while_it_is_decided_is_not_issued(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*", **EXPENSIVE})
    arn, key = world.home.user("slow", policy=EVERYTHING)
    person = _access_token(world.home, world.home.role("slow-person", trust(arn), policy=policy), key)
    client = register(world.home, grant_types=[EXCHANGE], external_client_ids={RESOURCE_SERVER: "x"}, **CONFIDENTIAL)

    async def lose() -> None:
        await change(world.home, lambda tx: tx.replace(replace(tx.get(OAuthClient, id=client.id), enabled=False)))

    slowly(world.home, monkeypatch, "_decide_decided", lose)
    answer = world.asked(client, subject_token=person)
    refusal(world.home, answer, "invalid_client", 401)
    assert b"access_token" not in answer.body


def test_saml_response_gives_an_assertion_by_way_of_an_access_token_of_a_role(world: World) -> None:
    site, issuer = world.home, "https://saml.example.com"
    arn = site.iam("CreateSAMLProvider", Name="corp", SAMLMetadataDocument=metadata(issuer=issuer)).text(
        "SAMLProviderArn"
    )
    condition = {"StringEquals": {"saml:aud": "https://signin.aws.amazon.com/saml"}}
    statement = {"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithSAML", "Condition": condition}
    policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*"})
    role = site.role("by-saml", document(statement), policy=policy)
    response = Response([f"{role},{arn}"], issuer=issuer, now=site.now())
    text = base64.urlsafe_b64encode(base64.b64decode(response.encoded())).decode()
    direct = world.asked(subject_token=text, subject_token_type=SAML2)
    refusal(site, direct, "invalid_request")
    token = given(exchange(site, text, SAML2, role=role))["access_token"]
    claims = jwt.decode(world.assertion(subject_token=token), options={"verify_signature": False})
    assert claims["sub"].startswith("AROA")
    assert world.redeemed(world.assertion(subject_token=token)).status == 200


def test_a224_identity_assertion_of_an_old_sign_in_at_a_provider_says_when_it_was(world: World) -> None:
    site, issuer = world.home, Issuer("people.example.com", "ES256")
    policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*"})
    role = site.role("of-provider", trust_in(provider(site, issuer).arn), policy=policy)
    at = site.now() // 1000 - 7_200
    token = given(exchange(site, issuer.token(site.now(), auth_time=at), ID_TOKEN, role=role))["access_token"]
    claims = jwt.decode(world.assertion(subject_token=token), options={"verify_signature": False})
    assert claims["auth_time"] == at


def test_identity_assertion_is_issued_and_redeemed(world: World) -> None:
    answer = world.asked(scope="read", resource=API)
    members = given(answer)
    assert (members["token_type"], members["issued_token_type"], members["scope"]) == ("N_A", ID_JAG, "read")
    text = members["access_token"]
    assert jwt.get_unverified_header(text)["typ"] == TYPE
    claims = jwt.decode(text, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (ISSUER, RESOURCE_SERVER, world.there.id)
    assert (claims["resource"], claims["scope"], claims["exp"] - claims["iat"]) == (API, "read", 300)
    assert world.home.records(answer.request_id)[0]["type"] == "web_identity.issued"
    token = given(world.redeemed(text))
    got = jwt.decode(token["access_token"], options={"verify_signature": False})
    assert (got["aud"], got["scope"], got["client_id"]) == (API, "read", world.there.id)
    chain, act = [], got["act"]
    while act:
        chain.append(act["sub"].rpartition("daypass.test:")[2])
        act = act.get("act")
    assert chain == [claims["act"]["sub"], claims["sub"]]


def test_a25_identity_assertion_opens_nothing_else(world: World) -> None:
    text = world.assertion()
    as_subject = {"subject_token": text, "subject_token_type": ID_TOKEN, "role": world.role}
    own = world.there.credentials(aud=RESOURCE_SERVER)
    refused = [
        world.there.token(grant=EXCHANGE, **own, **as_subject),
        bring(world.resource, world.role, text),
        exchange(world.home, text, ACCESS_TOKEN),
        world.home.send("POST", [(b"authorization", f"Bearer {text}".encode())], b"{}", path=b"/access/v1/evaluation"),
    ]
    for site, answer in zip((world.resource, world.resource, world.home, world.home), refused, strict=True):
        assert answer.status in (400, 401), answer.body
        assert text.encode() not in answer.body
        assert site.records(answer.request_id)[0]["error"]
    assert world.redeemed(text).status == 200  # none of them has consumed it


def test_a70_identity_assertion_is_good_once(world: World) -> None:
    text = world.assertion()
    assert world.redeemed(text).status == 200
    again = world.redeemed(text)
    assert (again.status, json.loads(again.body)["error"]) == (400, "invalid_grant")


def test_a70_identity_assertion_of_another_client_or_server_is_refused(world: World) -> None:
    other = register(world.resource, audiences=[API], grant_types=[BEARER], **CONFIDENTIAL)
    answer = world.redeemed(world.assertion(), other)
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "invalid_grant")
    assert world.resource.records(answer.request_id)[0]["error"] == "invalid_grant"
    world.here.put(external_client_ids={RESOURCE_SERVER: world.there.id, "https://third.test": world.there.id})
    elsewhere = world.assertion(audience="https://third.test")
    assert json.loads(world.redeemed(elsewhere).body)["error"] == "invalid_grant"


def test_a70_identity_assertion_without_client_authentication_is_refused(world: World) -> None:
    public = register(
        world.resource, token_endpoint_auth_method="none", grant_types=[BEARER], roles=["*"], audiences=[API]
    )
    answer = public.token(grant=BEARER, client_id=public.id, assertion=world.assertion(), role=world.role)
    assert json.loads(answer.body)["error"] == "unauthorized_client"


def test_redemption_is_limited_to_resource_and_scope(world: World) -> None:
    text = world.assertion(scope="read", resource=API)
    wider = world.redeemed(text, scope="read write")
    assert json.loads(wider.body)["error"] == "invalid_scope"
    other = world.redeemed(text, audience=RESOURCE_SERVER)
    assert json.loads(other.body)["error"] == "invalid_target"
    assert world.redeemed(text).status == 200


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"audience": "https://unknown.test"}, "invalid_target"),
        ({"audience": ISSUER}, "invalid_target"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"role": f"arn:aws:iam::{ALPHA}:role/person"}, "invalid_request"),
        ({"subject_token": "a.b.c"}, "invalid_request"),
    ],
)
def test_identity_assertion_that_the_client_may_not_ask_for_is_refused(
    world: World, more: dict[str, str], code: str
) -> None:
    answer = world.asked(**more)
    assert (answer.status, json.loads(answer.body)["error"]) == (400, code)
    assert world.home.records(answer.request_id)[0]["error"]


def test_identity_assertion_without_permission_of_the_subject_is_refused(world: World) -> None:
    answer = world.asked(subject_token=world.stranger)
    assert answer.status == 400
    assert world.home.records(answer.request_id)[0]["error"] == "access_denied"


def test_identity_assertion_for_a_request_without_a_client_is_refused(world: World) -> None:
    more = {"requested_token_type": ID_JAG, "audience": RESOURCE_SERVER}
    answer = exchange(world.home, world.person, ACCESS_TOKEN, **more)
    assert json.loads(answer.body)["error"] == "unauthorized_client"
