"""ID tokens and refresh tokens as the subject of identity assertions (ID-JAG): for their own client alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from tests.attack.installation import Answer, Installation, document
from tests.browser import BASE, Browser
from tests.oauth import ACCESS_TOKEN, EXCHANGE, ID_TOKEN, given, post, refusal
from tests.oauth import JWT as JWT_TYPE
from tests.oauth_client import Client, register
from tests.sign_in import CALLBACK, VERIFIER, allowed, signed_in, site_with_pages, target, user

RESOURCE_SERVER = "https://resource.test"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
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
