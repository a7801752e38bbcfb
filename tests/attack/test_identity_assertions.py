"""Identity assertion grants (ID-JAG): one installation issues them, another redeems them, and attacks on both; ID
tokens and refresh tokens are their subject for their own client alone.
"""

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
from tests.browser import BASE, Browser
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
    post,
    presigned,
    refusal,
)
from tests.oauth import JWT as JWT_TYPE
from tests.oauth_client import Client, register
from tests.saml_idp import Response, metadata
from tests.sign_in import CALLBACK, VERIFIER, allowed, signed_in, site_with_pages, target, user

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


REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
SETTINGS = {
    "grant_types": ["authorization_code", EXCHANGE],
    "redirect_uris": [CALLBACK],
    "roles": ["*"],
    "scopes": ["read"],
    "audiences": ["https://cloud.example", BASE],
    "external_client_ids": {RESOURCE_SERVER: "app-there"},
    "fapi_exceptions": ["bearer_tokens", "unpushed_requests"],
}


@dataclass(frozen=True)
class Signed:
    """A person's browser, and the tokens that a client got for them."""

    site: Installation
    browser: Browser
    client: Client
    tokens: dict[str, Any]

    def asked(self, client: Client | None = None, **more: str) -> Answer:
        own = {"subject_token": self.tokens["id_token"], "subject_token_type": ID_TOKEN, "audience": RESOURCE_SERVER}
        return (client or self.client).token(grant=EXCHANGE, **{**own, "requested_token_type": ID_JAG, **more})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("assertions")) as made:
        yield made


@pytest.fixture
def signed(site: Installation) -> Signed:
    name = user(site)
    policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*"})
    site.iam("PutUserPolicy", UserName=name, PolicyName="assert", PolicyDocument=policy)
    return with_tokens(site, name)


def with_tokens(site: Installation, name: str, **settings: Any) -> Signed:
    client, browser = register(site, **{**SETTINGS, **settings}), signed_in(site, name)
    code = allowed(browser, target(client))["code"]
    answer = client.token(grant="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)
    return Signed(site, browser, client, given(answer))


def test_id_token_gives_an_assertion_about_the_same_subject(signed: Signed) -> None:
    answer = signed.asked(scope="read")
    text = given(answer)["access_token"]
    claims = jwt.decode(text, options={"verify_signature": False})
    subject = jwt.decode(signed.tokens["id_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["auth_time"]) == (subject["sub"], subject["auth_time"])
    assert (claims["client_id"], claims["scope"]) == ("app-there", "read")
    assert "act" not in claims
    (record,) = signed.site.records(answer.request_id)
    assert record["type"] == "web_identity.issued"
    assert record["actor"]["principal_id"] == subject["sub"]


def test_a25_id_token_is_the_subject_of_nothing_else(signed: Signed) -> None:
    text = signed.tokens["id_token"]
    for kind in (ID_TOKEN, ACCESS_TOKEN, JWT_TYPE):
        for more in ({}, {"requested_token_type": ID_TOKEN, "audience": "https://cloud.example"}):
            answer = signed.client.token(grant=EXCHANGE, **{"subject_token": text, "subject_token_type": kind, **more})
            refusal(signed.site, answer, "invalid_request")
    for kind in (ACCESS_TOKEN, JWT_TYPE):
        refusal(signed.site, signed.asked(subject_token_type=kind), "invalid_request")
    refusal(signed.site, signed.asked(subject_token=signed.tokens["access_token"]), "invalid_request")


def test_a25_id_token_of_another_client_gives_no_assertion(signed: Signed) -> None:
    record = refusal(signed.site, signed.asked(register(signed.site, **SETTINGS)), "invalid_request")
    assert record["detail"]["private"]["reason"] == "the ID token is of another client"


def test_a25_altered_id_token_gives_no_assertion(signed: Signed) -> None:
    head, body, signature = signed.tokens["id_token"].split(".")
    claims = jwt.decode(signed.tokens["id_token"], options={"verify_signature": False})
    other = jwt.utils.base64url_encode(json.dumps({**claims, "sub": "AIDAOTHEROTHEROTHERX0"}).encode()).decode()
    none = jwt.utils.base64url_encode(b'{"alg":"none","typ":"JWT"}').decode()
    for text in (f"{head}.{other}.{signature}", f"{none}.{body}.", f"{none}.{body}.{signature}"):
        refusal(signed.site, signed.asked(subject_token=text), "invalid_request")


def test_id_token_of_a_person_who_has_signed_out_gives_no_assertion(signed: Signed) -> None:
    assert signed.browser.submit(signed.browser.get("/account"), "/logout").status == 303
    refusal(signed.site, signed.asked(), "invalid_request")


def test_id_token_that_has_expired_gives_no_assertion(signed: Signed) -> None:
    signed.site.wall.time += 300_000
    record = refusal(signed.site, signed.asked(), "invalid_request")
    assert record["detail"]["private"]["reason"] == "it has expired"


def test_id_token_of_a_person_without_the_permission_gives_no_assertion(site: Installation) -> None:
    answer = with_tokens(site, user(site)).asked()
    assert answer.status == 400
    assert site.records(answer.request_id)[0]["error"] == "access_denied"


# --- Refresh tokens ---------------------------------------------------------------------------------------------------


@pytest.fixture
def lasting(site: Installation) -> Signed:
    """As `signed`, with a client that may use refresh tokens."""
    name = user(site)
    policy = document({"Action": "daypass:IssueIdentityAssertion", "Resource": "*"})
    site.iam("PutUserPolicy", UserName=name, PolicyName="assert", PolicyDocument=policy)
    return with_tokens(site, name, grant_types=["authorization_code", "refresh_token", EXCHANGE], audiences=[BASE])


def by_refresh_token(signed: Signed, client: Client | None = None, **more: str) -> Answer:
    own = {"subject_token": signed.tokens["refresh_token"], "subject_token_type": REFRESH_TOKEN}
    return signed.asked(client, **{**own, **more})


def refreshed(signed: Signed, token: str) -> Answer:
    return signed.client.token(grant="refresh_token", refresh_token=token)


def test_refresh_token_gives_an_assertion_as_its_id_token_did_and_is_not_used_up(lasting: Signed) -> None:
    lasting.site.wall.time += 3_600_000  # the ID token has expired
    refusal(lasting.site, lasting.asked(), "invalid_request")
    answers = [by_refresh_token(lasting, scope="read") for _ in range(2)]
    claims = [jwt.decode(given(answer)["access_token"], options={"verify_signature": False}) for answer in answers]
    subject = jwt.decode(lasting.tokens["id_token"], options={"verify_signature": False})
    assert [each["sub"] for each in claims] == [subject["sub"]] * 2
    assert claims[0]["auth_time"] == subject["auth_time"]
    assert claims[0]["jti"] != claims[1]["jti"]
    assert (claims[0]["client_id"], claims[0]["scope"]) == ("app-there", "read")
    (record,) = lasting.site.records(answers[0].request_id)
    assert (record["type"], record["actor"]["principal_id"]) == ("web_identity.issued", subject["sub"])
    assert refreshed(lasting, lasting.tokens["refresh_token"]).status == 200


def test_a25_refresh_token_of_another_client_gives_no_assertion_and_ends_nothing(lasting: Signed) -> None:
    other = register(lasting.site, **{**SETTINGS, "grant_types": ["authorization_code", "refresh_token", EXCHANGE]})
    refusal(lasting.site, by_refresh_token(lasting, other), "invalid_grant")
    altered = lasting.tokens["refresh_token"][:-4] + "AAAA"
    refusal(lasting.site, by_refresh_token(lasting, subject_token=altered), "invalid_grant")
    assert refreshed(lasting, lasting.tokens["refresh_token"]).status == 200


def test_a25_refresh_token_is_the_subject_of_nothing_else_and_never_an_actor(lasting: Signed) -> None:
    for kind in (ACCESS_TOKEN, JWT_TYPE, ID_TOKEN, REFRESH_TOKEN):
        refusal(lasting.site, by_refresh_token(lasting, requested_token_type=kind), "invalid_request")
    actor = {"actor_token": lasting.tokens["refresh_token"], "actor_token_type": REFRESH_TOKEN}
    refusal(lasting.site, lasting.asked(**actor), "invalid_request")


def test_a119_old_refresh_token_as_a_subject_ends_its_family(lasting: Signed) -> None:
    old = lasting.tokens["refresh_token"]
    newer = given(refreshed(lasting, old))["refresh_token"]
    busy = by_refresh_token(lasting)
    assert busy.status == 429, "the response with the next token may still be on its way"
    lasting.site.wall.time += 60_000
    answer = by_refresh_token(lasting)
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "invalid_grant")
    kinds = [record["type"] for record in lasting.site.records(answer.request_id)]
    assert sorted(kinds) == ["request.unauthenticated", "session.revoked"]
    refusal(lasting.site, refreshed(lasting, newer), "invalid_grant")
    refusal(lasting.site, by_refresh_token(lasting, subject_token=newer), "invalid_grant")


def test_refresh_token_that_was_revoked_gives_no_assertion(lasting: Signed) -> None:
    token = lasting.tokens["refresh_token"]
    sent = {"token": token, **lasting.client.credentials()}
    assert post(lasting.site, "/oauth2/revoke", sent).status == 200
    refusal(lasting.site, by_refresh_token(lasting), "invalid_grant")


def test_identity_token_gives_no_refresh_token_that_could_give_an_assertion(lasting: Signed) -> None:
    own = {"subject_token": lasting.tokens["access_token"], "subject_token_type": ACCESS_TOKEN}
    answer = lasting.client.token(grant=EXCHANGE, **own, requested_token_type=REFRESH_TOKEN)
    refusal(lasting.site, answer, "invalid_request")
