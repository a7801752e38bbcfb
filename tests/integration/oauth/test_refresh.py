"""Refresh tokens: rotation, families, lost responses, and what they are bound to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.attack.installation import EVERYTHING, ROOT, Installation, document, trust
from tests.attack.test_oauth import revoke
from tests.integration.oauth.conftest import World
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    EXCHANGE,
    ISSUER,
    SESSION,
    given,
    key_of,
    post,
    refusal,
    signed_post,
    verified,
)
from tests.oauth_client import BEARER_TOKENS, Client, DpopKey, register

REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
GRANTS = [EXCHANGE, "refresh_token"]


@pytest.fixture(scope="module")
def site(world: World) -> Installation:
    return world.site


@pytest.fixture(scope="module")
def client(world: World) -> Client:
    """A client that may continue sessions, also with the role `target`."""
    made = register(world.site, fapi_exceptions=BEARER_TOKENS, grant_types=GRANTS, roles=[world.target])
    made.put(audiences=[ISSUER, "https://api.example"], scopes=["read", "write"])
    return made


def begun(client: Client, world: World, **more: str) -> str:
    """The first refresh token of a new family."""
    response = given(
        client.token(
            grant=EXCHANGE,
            subject_token=world.person_token(),
            subject_token_type=ACCESS_TOKEN,
            requested_token_type=REFRESH,
            **client.credentials(),
            **more,
        )
    )
    assert (response["issued_token_type"], response["token_type"]) == (REFRESH, "N_A")
    return str(response["access_token"])


def used(client: Client, token: str, *headers: tuple[bytes, bytes], **more: str) -> Any:
    return client.token(*headers, grant="refresh_token", refresh_token=token, **client.credentials(), **more)


def test_refresh_gives_a_new_session_and_a_new_token(client: Client, world: World) -> None:
    first = begun(client, world, role=world.target)
    one = given(used(client, first))
    two = given(used(client, one["refresh_token"]))
    claims = [verified(world.site, response["access_token"]) for response in (one, two)]
    assert len({first, one["refresh_token"], two["refresh_token"]}) == 3
    assert len({c[SESSION]["id"] for c in claims}) == 2
    assert {c[SESSION]["role_arn"] for c in claims} == {world.target}
    assert {c["client_id"] for c in claims} == {client.id}
    assert one["token_type"] == "Bearer"


def test_refresh_keeps_audience_and_scope_and_can_narrow_them(client: Client, world: World) -> None:
    token = begun(client, world, role=world.target, scope="read write", resource="https://api.example")
    answer = given(used(client, token, scope="read"))
    assert (answer["scope"], verified(world.site, answer["access_token"], "https://api.example")["aud"]) == (
        "read",
        "https://api.example",
    )
    token = answer["refresh_token"]
    refusal(world.site, used(client, token, scope="admin"), "invalid_scope")
    refusal(world.site, used(client, token, resource="https://b.example"), "invalid_target")
    refusal(world.site, used(client, token, role=world.target), "invalid_request")
    assert given(used(client, token))["scope"] == "read write"


def test_refresh_as_aws_credentials(client: Client, world: World) -> None:
    token = begun(client, world, role=world.target)
    aws = given(used(client, token, requested_token_type=AWS))
    assert world.site.call(key_of(aws), "GetCallerIdentity").status == 200


def test_refresh_of_an_own_session_does_not_outlive_it(client: Client, world: World) -> None:
    token = begun(client, world)
    given(used(client, token))
    world.site.wall.time += 3_600_001
    refusal(world.site, used(client, token), "invalid_grant")


def test_reuse_of_an_old_token_ends_the_family_and_its_sessions(client: Client, world: World) -> None:
    first = begun(client, world, role=world.target)
    one = given(used(client, first, requested_token_type=AWS))
    two = given(used(client, one["refresh_token"]))
    site = world.site
    site.wall.time += 11_000
    answer = used(client, first)
    assert json.loads(answer.body)["error"] == "invalid_grant"
    kinds = {record["type"] for record in site.records(answer.request_id)}
    assert "session.revoked" in kinds
    assert site.call(key_of(one), "GetCallerIdentity").code == "ExpiredToken"
    refusal(site, used(client, two["refresh_token"]), "invalid_grant")
    pairs = {"grant_type": EXCHANGE, "subject_token": two["access_token"], "subject_token_type": ACCESS_TOKEN}
    refusal(site, post(site, "/oauth2/token", pairs), "invalid_request")


def test_lost_response_is_repeated_for_some_seconds_with_the_same_session(client: Client, world: World) -> None:
    site, first = world.site, begun(client, world, role=world.target)
    lost = given(used(client, first))
    busy = used(client, first)
    assert (busy.status, json.loads(busy.body)["error"]) == (429, "temporarily_unavailable")
    site.wall.time += 2_000
    again = given(used(client, first))
    assert again["refresh_token"] == lost["refresh_token"]
    ids = {verified(site, response["access_token"])[SESSION]["id"] for response in (lost, again)}
    assert len(ids) == 1
    given(used(client, again["refresh_token"]))
    assert json.loads(used(client, first).body)["error"] == "invalid_grant"  # the next one was used: this is a copy
    refusal(site, used(client, again["refresh_token"]), "invalid_grant")


def test_refresh_token_is_of_one_client(client: Client, world: World) -> None:
    token = begun(client, world, role=world.target)
    other = register(world.site, fapi_exceptions=BEARER_TOKENS, grant_types=GRANTS, roles=["*"])
    refusal(world.site, used(other, token), "invalid_grant")
    public = register(
        world.site,
        token_endpoint_auth_method="none",
        grant_types=["authorization_code", "refresh_token"],
        redirect_uris=["http://127.0.0.1/cb"],
    )
    stolen = public.token(grant="refresh_token", client_id=public.id, refresh_token=token)
    refusal(world.site, stolen, "invalid_grant")
    given(used(client, token))


@pytest.mark.parametrize("change", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: t[:40], lambda t: ""])
def test_altered_refresh_token_ends_nothing(client: Client, world: World, change: Any) -> None:
    token = begun(client, world, role=world.target)
    altered = change(token)
    answer = used(client, altered)
    assert json.loads(answer.body)["error"] == ("invalid_grant" if altered else "invalid_request")
    generation = token[:26] + "////" + token[30:]
    assert used(client, generation).status == 400
    given(used(client, token))


def test_refresh_token_is_bound_to_the_dpop_key(world: World) -> None:
    site = world.site
    client = register(site, grant_types=GRANTS, roles=[world.target])
    key = DpopKey(site)
    client.token(grant="refresh_token", refresh_token="x", dpop=key)
    subject = {"subject_token": world.person_token(), "subject_token_type": ACCESS_TOKEN, "role": world.target}
    asked = client.token(grant=EXCHANGE, requested_token_type=REFRESH, dpop=key, **subject)
    token = given(asked)["access_token"]
    thief = DpopKey(site, nonce=key.nonce)
    refusal(site, client.token(grant="refresh_token", refresh_token=token, dpop=thief), "invalid_grant")
    response = given(client.token(grant="refresh_token", refresh_token=token, dpop=key))
    assert verified(site, response["access_token"])["cnf"] == {"jkt": key.thumbprint}
    assert response["token_type"] == "DPoP"


def test_revocation_of_a_refresh_token_ends_the_family(client: Client, world: World) -> None:
    site, token = world.site, begun(client, world, role=world.target)
    one = given(used(client, token, requested_token_type=AWS))
    other = register(site, fapi_exceptions=BEARER_TOKENS)
    refused = post(site, "/oauth2/revoke", {"token": one["refresh_token"], **other.credentials()})
    refusal(site, refused, "unauthorized_client")
    refused = signed_post(site, ROOT, "/oauth2/revoke", {"token": one["refresh_token"]})
    refusal(site, refused, "unsupported_token_type")
    assert site.call(key_of(one), "GetCallerIdentity").status == 200
    assert post(site, "/oauth2/revoke", {"token": one["refresh_token"], **client.credentials()}).status == 200
    assert site.call(key_of(one), "GetCallerIdentity").code == "ExpiredToken"
    refusal(site, used(client, one["refresh_token"]), "invalid_grant")


def test_revocation_of_the_person_or_the_client_ends_refresh(client: Client, world: World) -> None:
    site = world.site

    subject = world.person_token()
    pairs = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "role": world.target}
    token = given(client.token(grant=EXCHANGE, requested_token_type=REFRESH, **client.credentials(), **pairs))
    revoke(site, verified(site, subject)[SESSION]["id"])
    refusal(site, used(client, token["access_token"]), "invalid_grant")


def test_role_that_no_longer_trusts_the_person_gives_no_more_sessions(client: Client, world: World) -> None:
    site = world.site
    role = site.role("fickle", trust(world.person), policy=EVERYTHING)
    client.put(roles=[world.target, role])
    token = begun(client, world, role=role)
    answer = given(used(client, token))
    nobody = document({"Principal": {"AWS": world.service}, "Action": "sts:AssumeRole"})
    site.iam("UpdateAssumeRolePolicy", RoleName="fickle", PolicyDocument=nobody)
    refusal(site, used(client, answer["refresh_token"]), "invalid_grant")


def test_refresh_tokens_are_neither_stored_nor_logged(client: Client, world: World) -> None:
    token = begun(client, world, role=world.target)
    given(used(client, token))
    log = b"".join(world.site.record_bytes()) + world.site.log.getvalue().encode()
    assert token.encode() not in log
