"""Introspection and revocation: who may ask, what is told, and that both forms of a session end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.attack.installation import ADMIN, ALPHA, Key, document
from tests.integration.oauth.conftest import World
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    ID_TOKEN,
    ISSUER,
    SESSION,
    bearer,
    details,
    exchange,
    given,
    key_of,
    post,
    refusal,
    signed_post,
    verified,
)

INTROSPECT, REVOKE = "/oauth2/introspect", "/oauth2/revoke"


def introspected(world: World, by: str, text: str) -> dict[str, Any]:
    return given(post(world.site, INTROSPECT, {"token": text}, bearer(by)))


def introspected_with_key(world: World, key: Key, text: str) -> dict[str, Any]:
    return given(signed_post(world.site, key, INTROSPECT, {"token": text}))


@pytest.fixture(scope="module")
def inspector(world: World) -> Key:
    """A user that may introspect every token of its account, and nothing else."""
    allowed = document({"Action": "daypass:IntrospectToken", "Resource": f"arn:aws:daypass::{ALPHA}:session/*"})
    return world.site.user("inspector", policy=allowed)[1]


def test_introspect_by_permission_shows_chain_scope_and_tags_and_never_the_sealed_session(
    world: World, inspector: Key
) -> None:
    tags = {"principal_tags": {"team": ["red"]}, "transitive_tag_keys": []}
    token = world.id_token(**{"https://aws.amazon.com/tags": tags})
    text = given(
        exchange(world.site, token, ID_TOKEN, role=world.person, scope="orders.read", audience="https://b.example")
    )["access_token"]
    answer = signed_post(world.site, inspector, INTROSPECT, {"token": text, "token_type_hint": "access_token"})
    found = given(answer)
    claims = verified(world.site, text, "https://b.example")
    assert found["active"] is True
    assert found["token_type"] == "Bearer"
    for name in ("iss", "sub", "aud", "act", "scope", "exp", "iat", "jti", "client_id", "https://aws.amazon.com/tags"):
        assert found[name] == claims[name], name
    assert found[SESSION] == {name: value for name, value in claims[SESSION].items() if name != "sealed"}
    record = world.site.records(answer.request_id)[0]
    assert record["type"] == "request.allowed"
    assert record["session_id"] == claims[SESSION]["id"]


def test_introspect_by_the_session_itself_needs_no_permission(world: World) -> None:
    own = world.service_token()  # its role has no policies at all
    assert introspected(world, own, own)["active"] is True
    aws = given(exchange(world.site, own, ACCESS_TOKEN, requested_token_type=AWS))
    assert introspected_with_key(world, key_of(aws), own)["active"] is True


def test_introspect_by_the_service_that_the_token_is_for_needs_no_permission(world: World) -> None:
    meant = world.person_token(audience=world.service)
    assert introspected(world, world.service_token(), meant)["active"] is True
    assert introspected(world, world.service_token(), world.person_token())["active"] is False


def test_introspect_without_permission_is_inactive_and_a_refusal_on_the_record(world: World) -> None:
    answer = post(world.site, INTROSPECT, {"token": world.person_token()}, bearer(world.service_token()))
    assert given(answer) == {"active": False}
    record = world.site.records(answer.request_id)[0]
    assert (record["type"], record["error"]) == ("request.denied", "access_denied")
    assert record["actor"]["arn"].endswith("assumed-role/service-a/service-a")


@pytest.mark.parametrize("text", ["", "x", "x.y.z", "a" * 30_000, "\u00e9", "eyJhbGciOiJub25lIn0.e30."])
def test_introspect_of_text_that_is_not_an_access_token_is_inactive(world: World, inspector: Key, text: str) -> None:
    if not text:
        refusal(world.site, signed_post(world.site, inspector, INTROSPECT, {"token": text}), "invalid_request")
    else:
        assert introspected_with_key(world, inspector, text) == {"active": False}
        assert introspected_with_key(world, inspector, world.id_token()) == {"active": False}


def test_introspect_of_an_expired_token_is_inactive(world: World, inspector: Key) -> None:
    asked = details(role=world.person, duration_seconds=900)
    text = given(exchange(world.site, world.id_token(), ID_TOKEN, authorization_details=asked))["access_token"]
    assert introspected_with_key(world, inspector, text)["active"] is True
    world.site.wall.time += 901_000
    assert introspected_with_key(world, inspector, text) == {"active": False}
    refusal(world.site, exchange(world.site, text, ACCESS_TOKEN), "invalid_request")


@pytest.mark.parametrize("path", [INTROSPECT, REVOKE])
def test_a25_request_without_a_token_for_this_server_is_unauthenticated(world: World, path: str) -> None:
    """An id token, a token that another service was called with, no proof, or a revoked one."""
    pairs = {"token": world.person_token()}
    for text in (world.id_token(), world.person_token(audience="https://b.example"), "x.y.z", "", "\u00e9"):
        answer = post(world.site, path, pairs, bearer(text))
        record = refusal(world.site, answer, "invalid_token", 401)
        assert record["type"] == "request.unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")
    refusal(world.site, post(world.site, path, pairs), "invalid_client", 401)
    basic = (b"authorization", b"Basic YTpi")
    assert post(world.site, path, pairs, basic).status in (400, 401)
    key = (*ADMIN[:1], "x" * 40)
    refusal(world.site, signed_post(world.site, key, path, pairs), "invalid_client", 401)


def test_revoke_by_the_session_itself_ends_both_forms_and_what_was_made_from_it(world: World) -> None:
    own = world.person_token()
    aws = given(exchange(world.site, own, ACCESS_TOKEN, requested_token_type=AWS))
    narrowed = given(exchange(world.site, own, ACCESS_TOKEN, authorization_details=details(duration_seconds=900)))[
        "access_token"
    ]
    chained = given(exchange(world.site, own, ACCESS_TOKEN, role=world.target, requested_token_type=AWS))
    for key in (key_of(aws), key_of(chained)):
        assert world.site.call(key, "GetCallerIdentity").status == 200
    answer = post(world.site, REVOKE, {"token": own}, bearer(own))
    assert (answer.status, answer.body) == (200, b"")
    record = world.site.records(answer.request_id)[0]
    assert (record["type"], record["detail"]["subject"]) == ("session.revoked", "session")
    for key in (key_of(aws), key_of(chained)):
        assert world.site.call(key, "GetCallerIdentity").code == "ExpiredToken"
    for text in (own, narrowed):
        refusal(world.site, exchange(world.site, text, ACCESS_TOKEN), "invalid_request")
        assert introspected_with_key(world, ADMIN, text) == {"active": False}


def test_revoke_of_a_session_by_one_that_was_made_from_it_takes_a_permission(world: World) -> None:
    own = world.service_token()  # its role has no policies
    asked = details(duration_seconds=900)
    narrowed = given(exchange(world.site, own, ACCESS_TOKEN, authorization_details=asked))["access_token"]
    refusal(world.site, post(world.site, REVOKE, {"token": own}, bearer(narrowed)), "unauthorized_client")
    assert post(world.site, REVOKE, {"token": narrowed}, bearer(own)).status == 200
    assert introspected(world, own, own)["active"] is True


def test_revoke_of_a_session_by_the_one_that_it_was_made_from(world: World) -> None:
    own = world.person_token()
    made = given(exchange(world.site, own, ACCESS_TOKEN, role=world.target))["access_token"]
    assert post(world.site, REVOKE, {"token": made}, bearer(own)).status == 200
    assert introspected(world, own, own)["active"] is True
    refusal(world.site, exchange(world.site, made, ACCESS_TOKEN), "invalid_request")


def test_revoke_by_permission_ends_the_session(world: World) -> None:
    own = world.person_token()
    assert signed_post(world.site, ADMIN, REVOKE, {"token": own}).status == 200
    refusal(world.site, exchange(world.site, own, ACCESS_TOKEN), "invalid_request")
    again = signed_post(world.site, ADMIN, REVOKE, {"token": own})
    assert (again.status, again.body) == (200, b"")


def test_revocation_of_a_role_in_the_api_ends_its_access_tokens(world: World) -> None:
    own = world.service_token()
    body = json.dumps({"subject": "role", "value": "service-a"}).encode()
    extra = {"content-type": "application/json"}
    headers = world.site.signed(ADMIN, body, "daypass", path="/api/v1/revocations", extra=extra)
    assert world.site.send("POST", headers, body, path=b"/api/v1/revocations").status == 201
    refusal(world.site, exchange(world.site, own, ACCESS_TOKEN), "invalid_request")
    world.site.wall.time += 1000
    assert verified(world.site, world.service_token())["iss"] == ISSUER
