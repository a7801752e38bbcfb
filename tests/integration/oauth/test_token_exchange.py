"""Token exchange: the same sessions in both forms, never wider and never longer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Answer, document
from tests.attack.tokens import provider, trust_in
from tests.integration.oauth.conftest import World
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    BEARER,
    EXCHANGE,
    ID_TOKEN,
    ISSUER,
    JWT,
    PRESIGNED,
    SAML2,
    SESSION,
    details,
    exchange,
    given,
    key_of,
    presigned,
    refusal,
    token,
    verified,
)
from tests.oauth_client import api, register
from tests.saml_idp import Response, metadata

TAGS = "https://aws.amazon.com/tags"
READ_ONLY = document({"Action": "iam:Get*", "Resource": "*"})


def session_of(world: World, text: str, audience: str = ISSUER) -> dict[str, Any]:
    return dict(verified(world.site, text, audience)[SESSION])


def may_list_users(world: World, response: dict[str, Any]) -> bool:
    return world.site.call(key_of(response), "ListUsers", service="iam").status == 200


# --- Providers' tokens -----------------------------------------------------------------------------------------------


def test_exchange_of_an_id_token_gives_an_access_token_that_others_verify(world: World) -> None:
    answer = exchange(world.site, world.id_token(), ID_TOKEN, role=world.person, audience="https://b.example")
    response = given(answer)
    assert response["issued_token_type"] == ACCESS_TOKEN
    assert response["token_type"] == "Bearer"
    assert 3590 <= response["expires_in"] <= 3600
    claims = verified(world.site, response["access_token"], "https://b.example")
    role_id = claims["sub"].partition(":")[0]
    assert claims["sub"] == f"{role_id}:ann"
    assert role_id.startswith("AROA")
    assert claims["aud"] == "https://b.example"
    assert claims["client_id"] == f"{world.provider}:daypass"
    assert claims["act"] == {"sub": f"{world.provider}:ann"}
    assert claims[SESSION]["role_arn"] == world.person
    assert claims[SESSION]["arn"] == f"arn:aws:sts::{ALPHA}:assumed-role/person/ann"
    assert claims["exp"] - claims["iat"] in (3599, 3600)
    assert "scope" not in claims
    assert "amr" not in claims
    record = world.site.records(answer.request_id)[0]
    assert record["type"] == "session.issued"
    assert (record["detail"]["form"], record["detail"]["jti"]) == ("access_token", claims["jti"])
    assert record["detail"]["audience"] == ["https://b.example"]
    assert record["client_id"] == claims["client_id"]


def test_exchange_is_counted_by_its_outcome(world: World) -> None:
    before = world.site.attempts("daypass:ExchangeToken")
    given(exchange(world.site, world.id_token(), ID_TOKEN, role=world.person))
    assert exchange(world.site, "not-a-token", ID_TOKEN, role=world.person).status == 400
    after = world.site.attempts("daypass:ExchangeToken")
    assert after["issued"] == before.get("issued", 0) + 1
    assert sum(after.values()) == sum(before.values()) + 2


def test_exchange_keeps_tags_and_source_identity_of_the_provider(world: World) -> None:
    tags = {"principal_tags": {"team": ["red"]}, "transitive_tag_keys": ["team"]}
    more = {TAGS: tags, "https://aws.amazon.com/source_identity": "ann@corp"}
    response = given(exchange(world.site, world.id_token(**more), JWT, role=world.person))
    claims = verified(world.site, response["access_token"])
    assert claims[TAGS] == tags
    assert claims["https://aws.amazon.com/source_identity"] == "ann@corp"


def test_a224_old_sign_in_stays_old_in_both_forms_and_with_an_actor(world: World) -> None:
    at = world.site.now() // 1000 - 7_200
    old = {"auth_time": at, "amr": ["pwd"]}
    actor = {"actor_token": world.id_token("batch"), "actor_token_type": JWT}
    for more in ({}, actor):
        answer = exchange(world.site, world.id_token(**old), ID_TOKEN, role=world.person, **more)
        claims = verified(world.site, given(answer)["access_token"])
        assert (claims["auth_time"], claims["amr"], claims["acr"]) == (at, ["pwd"], "urn:daypass:acr:single-factor")
    aws = given(exchange(world.site, world.id_token(**old), ID_TOKEN, role=world.person, requested_token_type=AWS))
    back = given(exchange(world.site, presigned(world.site, key_of(aws)), PRESIGNED))
    assert verified(world.site, back["access_token"])["auth_time"] == at


def test_exchange_for_aws_credentials_gives_those_of_the_same_kind_of_session(world: World) -> None:
    answer = exchange(world.site, world.id_token(), ID_TOKEN, role=world.person, requested_token_type=AWS)
    response = given(answer)
    assert (response["issued_token_type"], response["token_type"]) == (AWS, "N_A")
    identity = world.site.call(key_of(response), "GetCallerIdentity")
    assert identity.text("Arn").endswith(":assumed-role/person/ann")


def test_exchange_without_a_role_of_a_subject_that_has_no_session_is_refused(world: World) -> None:
    refusal(world.site, exchange(world.site, world.id_token(), ID_TOKEN), "invalid_request")
    refusal(world.site, exchange(world.site, presigned(world.site, world.user), PRESIGNED), "invalid_request")


def test_exchange_of_a_providers_token_cannot_ask_for_tags(world: World) -> None:
    for member in ({"tags": {"team": "red"}}, {"source_identity": "bob"}):
        asked = details(role=world.person, **member)
        answer = exchange(world.site, world.id_token(), ID_TOKEN, authorization_details=asked)
        refusal(world.site, answer, "invalid_authorization_details")


def test_jwt_bearer_grant_gives_an_access_token(world: World) -> None:
    answer = token(world.site, {"grant_type": BEARER, "assertion": world.id_token(), "role": world.person})
    response = given(answer)
    assert "issued_token_type" not in response
    assert session_of(world, response["access_token"])["role_arn"] == world.person


def test_jwt_bearer_grant_refuses_what_is_not_a_providers_assertion_as_invalid_grant(world: World) -> None:
    for assertion in (world.person_token(), "x.y.z", world.id_token(aud="other"), world.id_token(exp=1)):
        answer = token(world.site, {"grant_type": BEARER, "assertion": assertion, "role": world.person})
        refusal(world.site, answer, "invalid_grant")


@pytest.mark.parametrize("name", ["actor_token", "actor_token_type", "requested_token_type", "subject_token"])
def test_jwt_bearer_grant_does_not_ignore_what_only_an_exchange_has(world: World, name: str) -> None:
    pairs = {"grant_type": BEARER, "assertion": world.id_token(), "role": world.person, name: JWT}
    refusal(world.site, token(world.site, pairs), "invalid_request")


def test_exchange_of_a_saml_response_gives_an_access_token_once(world: World) -> None:
    described = metadata(issuer="https://saml.example.com")
    arn = world.site.iam("CreateSAMLProvider", Name="corp", SAMLMetadataDocument=described).text("SAMLProviderArn")
    condition = {"StringEquals": {"saml:aud": "https://signin.aws.amazon.com/saml"}}
    statement = {"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithSAML", "Condition": condition}
    role = world.site.role("saml", document(statement))
    response = Response([f"{role},{arn}"], issuer="https://saml.example.com", now=world.site.now())
    text = base64.urlsafe_b64encode(base64.b64decode(response.encoded())).rstrip(b"=").decode()
    named = details(role=role, role_session_name="bob")  # approvals compare persons by it (A363)
    refusal(world.site, exchange(world.site, text, SAML2, authorization_details=named), "invalid_authorization_details")
    first = given(exchange(world.site, text, SAML2, role=role))
    assert session_of(world, first["access_token"])["role_arn"] == role
    assert refusal(world.site, exchange(world.site, text, SAML2, role=role), "invalid_request")["account"] == ALPHA
    refusal(world.site, exchange(world.site, text, SAML2, role=world.person), "invalid_request")
    refusal(world.site, exchange(world.site, "%%%", SAML2, role=role), "invalid_request")


# --- Our own sessions ------------------------------------------------------------------------------------------------


def test_exchange_of_an_access_token_for_aws_credentials_keeps_session_end_and_policies(world: World) -> None:
    asked = details(role=world.person, policy=json.loads(READ_ONLY), duration_seconds=900)
    first = given(exchange(world.site, world.id_token(), ID_TOKEN, authorization_details=asked))
    answer = exchange(world.site, first["access_token"], ACCESS_TOKEN, requested_token_type=AWS)
    aws = given(answer)
    claims = verified(world.site, first["access_token"])
    assert aws["expires_in"] <= 900
    assert not may_list_users(world, aws)
    assert world.site.call(key_of(aws), "GetUser", {"UserName": "alice"}, service="iam").status == 200
    back = given(exchange(world.site, presigned(world.site, key_of(aws)), PRESIGNED))
    again = verified(world.site, back["access_token"])
    assert (again[SESSION]["id"], again["exp"], again["sub"]) == (claims[SESSION]["id"], claims["exp"], claims["sub"])
    assert again["jti"] != claims["jti"]
    assert again["act"] == claims["act"]
    aws_again = given(exchange(world.site, back["access_token"], JWT, requested_token_type=AWS))
    assert not may_list_users(world, aws_again)
    record = world.site.records(answer.request_id)[0]
    assert record["type"] == "request.allowed"
    assert record["session_id"] == claims[SESSION]["id"]


def test_exchange_of_a_session_for_a_narrower_one_ends_with_it(world: World) -> None:
    first = world.person_token()
    asked = details(policy=READ_ONLY, duration_seconds=900)
    narrowed = given(exchange(world.site, first, ACCESS_TOKEN, authorization_details=asked))
    claims, wider = verified(world.site, narrowed["access_token"]), verified(world.site, first)
    assert claims["sub"] == wider["sub"]
    assert claims[SESSION]["id"] != wider[SESSION]["id"]
    assert claims["act"] == wider["act"]
    aws = given(exchange(world.site, narrowed["access_token"], ACCESS_TOKEN, requested_token_type=AWS))
    assert not may_list_users(world, aws)


@pytest.mark.parametrize(
    "member", [{"tags": {"a": "b"}}, {"source_identity": "eve"}, {"role_session_name": "eve"}, {"external_id": "id"}]
)
def test_exchange_of_a_session_cannot_change_who_it_is(world: World, member: dict[str, Any]) -> None:
    answer = exchange(world.site, world.person_token(), ACCESS_TOKEN, authorization_details=details(**member))
    refusal(world.site, answer, "invalid_authorization_details")


def test_exchange_of_a_session_for_a_longer_one_is_refused(world: World) -> None:
    first = given(
        exchange(
            world.site,
            world.id_token(),
            ID_TOKEN,
            authorization_details=details(role=world.person, duration_seconds=900),
        )
    )
    answer = exchange(
        world.site, first["access_token"], ACCESS_TOKEN, authorization_details=details(duration_seconds=3600)
    )
    refusal(world.site, answer, "invalid_request")


def test_exchange_with_a_role_is_role_chaining(world: World) -> None:
    asked = details(role=world.target, role_session_name="next", tags={"team": "red"}, transitive_tag_keys=["team"])
    response = given(exchange(world.site, world.person_token(), ACCESS_TOKEN, authorization_details=asked))
    claims = verified(world.site, response["access_token"])
    assert claims[SESSION]["role_arn"] == world.target
    assert claims["act"]["sub"].endswith(":ann")
    assert claims["act"]["act"] == {"sub": f"{world.provider}:ann"}
    assert claims["client_id"] == world.person
    assert claims[TAGS]["transitive_tag_keys"] == ["team"]
    assert response["authorization_details"][0]["role_session_name"] == "next"
    too_long = details(role=world.target, role_session_name="next", duration_seconds=7200)
    refusal(
        world.site,
        exchange(world.site, world.person_token(), ACCESS_TOKEN, authorization_details=too_long),
        "invalid_request",
    )


def test_exchange_with_a_role_that_does_not_trust_the_subject_is_refused_and_says_who_asked(world: World) -> None:
    answer = exchange(world.site, world.service_token(), ACCESS_TOKEN, role=world.target)
    record = refusal(world.site, answer, "invalid_request")
    assert record["type"] == "request.denied"
    assert record["actor"]["arn"].endswith(":assumed-role/service-a/service-a")
    assert json.loads(answer.body)["encoded_authorization_message"]


def test_exchange_of_a_presigned_request_of_a_user_assumes_the_role(world: World) -> None:
    response = given(exchange(world.site, presigned(world.site, world.user), PRESIGNED, role=world.target))
    claims = verified(world.site, response["access_token"])
    assert claims["act"]["sub"].startswith("AIDA")
    assert claims["amr"] == ["pop"]
    assert claims["client_id"] == world.user_arn


def test_exchange_of_a_presigned_request_with_a_line_break_at_its_end_assumes_the_role(world: World) -> None:
    url = presigned(world.site, world.user)
    given(exchange(world.site, f"{url}\r\n", PRESIGNED, role=world.target))
    refusal(world.site, exchange(world.site, f"{url}\n ", PRESIGNED, role=world.target), "invalid_request")


def test_exchange_role_with_a_space_is_refused_and_the_reason_says_so(world: World) -> None:
    answer = exchange(world.site, world.id_token(), ID_TOKEN, role=f"{world.target} ")
    refusal(world.site, answer, "invalid_authorization_details")
    assert b"without spaces" in answer.body


def test_exchange_of_a_presigned_request_of_a_root_is_refused(world: World) -> None:
    answer = exchange(world.site, presigned(world.site, ROOT), PRESIGNED, role=world.target)
    refusal(world.site, answer, "invalid_request")
    session = world.site.call(ROOT, "GetSessionToken")
    assert session.status == 200
    refusal(world.site, exchange(world.site, presigned(world.site, session.key), PRESIGNED), "invalid_request")


def test_exchange_of_a_session_token_of_a_user_gives_an_access_token_of_the_user(world: World) -> None:
    session = world.site.call(world.user, "GetSessionToken")
    response = given(exchange(world.site, presigned(world.site, session.key), PRESIGNED))
    claims = verified(world.site, response["access_token"])
    assert claims["sub"].startswith("AIDA")
    assert claims[SESSION]["arn"] == world.user_arn
    assert "role_arn" not in claims[SESSION]


# --- Audience and scope ----------------------------------------------------------------------------------------------


def test_a132_exchange_of_a_session_that_is_bound_to_an_audience_gives_no_other(world: World) -> None:
    pairs = [
        ("grant_type", EXCHANGE),
        ("subject_token", world.id_token()),
        ("subject_token_type", ID_TOKEN),
        ("role", world.person),
        ("audience", ISSUER),
        ("resource", "https://b.example/api"),
    ]
    bound = given(token(world.site, pairs))["access_token"]
    assert verified(world.site, bound)["aud"] == ["https://b.example/api", ISSUER]
    only = given(exchange(world.site, bound, ACCESS_TOKEN, audience="https://b.example/api"))
    assert verified(world.site, only["access_token"], "https://b.example/api")["aud"] == "https://b.example/api"
    refusal(world.site, exchange(world.site, bound, ACCESS_TOKEN, audience="https://c.example"), "invalid_target")
    aws = given(exchange(world.site, bound, ACCESS_TOKEN, requested_token_type=AWS))
    answer = exchange(world.site, presigned(world.site, key_of(aws)), PRESIGNED, audience="https://c.example")
    refusal(world.site, answer, "invalid_target")
    chained = exchange(world.site, bound, ACCESS_TOKEN, role=world.target, audience="https://c.example")
    refusal(world.site, chained, "invalid_target")
    within = given(exchange(world.site, bound, ACCESS_TOKEN, role=world.target, audience="https://b.example/api"))
    assert verified(world.site, within["access_token"], "https://b.example/api")["aud"] == "https://b.example/api"


def test_a130_exchange_of_a_token_by_the_service_it_was_meant_for_is_refused(world: World) -> None:
    for audience in ("https://b.example", world.target, f"{ISSUER}/"):
        meant = world.person_token(audience=audience)
        for more in ({}, {"role": world.target}, {"requested_token_type": AWS}):
            answer = exchange(world.site, meant, ACCESS_TOKEN, **more)
            record = refusal(world.site, answer, "invalid_request")
            assert record["detail"]["private"]["reason"] == "the token is for another audience"


def test_exchange_decides_by_audience_scope_client_and_method(world: World) -> None:
    conditions = {
        "StringEquals": {
            "idp.example.com:aud": "daypass",
            "daypass:Audience": "https://b.example",
            "daypass:Scope": "orders.read",
            "daypass:ClientId": f"{world.provider}:daypass",
            "daypass:AuthMethod": "oidc",
        }
    }
    role = world.site.role("strict", trust_in(world.provider, **conditions))
    good = {"role": role, "audience": "https://b.example", "scope": "orders.read"}
    response = given(exchange(world.site, world.id_token(), ID_TOKEN, **good))
    assert response["scope"] == "orders.read"
    for more in ({"audience": "https://c.example"}, {"scope": "orders.write"}, {"scope": ""}, {"audience": ""}):
        answer = exchange(world.site, world.id_token(), ID_TOKEN, **{**good, **more})
        refusal(world.site, answer, "invalid_request")


def test_a132_exchange_never_widens_the_scope(world: World) -> None:
    first = world.person_token(scope="orders.read orders.write")
    assert verified(world.site, first)["scope"] == "orders.read orders.write"
    refusal(world.site, exchange(world.site, first, ACCESS_TOKEN, scope="orders.read admin"), "invalid_scope")
    less = given(exchange(world.site, first, ACCESS_TOKEN, scope="orders.read"))["access_token"]
    refusal(world.site, exchange(world.site, less, ACCESS_TOKEN, scope="orders.write"), "invalid_scope")
    assert given(exchange(world.site, less, ACCESS_TOKEN))["scope"] == "orders.read"
    aws = given(exchange(world.site, less, ACCESS_TOKEN, requested_token_type=AWS))
    back = exchange(world.site, presigned(world.site, key_of(aws)), PRESIGNED, scope="orders.write")
    refusal(world.site, back, "invalid_scope")
    chained = given(exchange(world.site, less, ACCESS_TOKEN, role=world.target))
    assert chained["scope"] == "orders.read"
    refusal(
        world.site, exchange(world.site, less, ACCESS_TOKEN, role=world.target, scope="orders.write"), "invalid_scope"
    )


def test_policies_of_the_session_see_its_scope_in_both_forms(world: World) -> None:
    deny = {
        "Effect": "Deny",
        "Action": "iam:ListUsers",
        "Resource": "*",
        "Condition": {"ForAnyValue:StringEquals": {"daypass:Scope": "orders.read"}},
    }
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
    aud = {"StringEquals": {"idp.example.com:aud": "daypass"}}
    role = world.site.role("scoped", trust_in(world.provider, **aud), policy=policy)
    for scope, allowed in (("orders.write", True), ("orders.read", False)):
        response = given(
            exchange(world.site, world.id_token(), ID_TOKEN, role=role, scope=scope, requested_token_type=AWS)
        )
        assert may_list_users(world, response) is allowed


# --- Actors ----------------------------------------------------------------------------------------------------------


def test_exchange_with_an_actor_has_both_parties_in_the_chain(world: World) -> None:
    conditions = {"StringEquals": {"idp.example.com:aud": "daypass"}, "ArnEquals": {"daypass:ActorArn": world.service}}
    role = world.site.role("orders", trust_in(world.provider, **conditions), policy=EVERYTHING)
    actor = {"actor_token": world.service_token(), "actor_token_type": ACCESS_TOKEN}
    answer = exchange(world.site, world.id_token(), ID_TOKEN, role=role, audience="https://b.example", **actor)
    claims = verified(world.site, given(answer)["access_token"], "https://b.example")
    service = verified(world.site, actor["actor_token"])
    assert claims["act"]["sub"] == service["sub"]
    assert claims["act"]["act"] == {"sub": f"{world.provider}:service-a", "act": {"sub": f"{world.provider}:ann"}}
    assert claims["client_id"] == world.service
    record = world.site.records(answer.request_id)[0]
    assert record["actor"]["federated"]["subject"] == "ann"
    assert record["actor"]["acting"]["arn"] == world.service
    refusal(world.site, exchange(world.site, world.id_token(), ID_TOKEN, role=role), "invalid_request")
    aws = given(exchange(world.site, actor["actor_token"], ACCESS_TOKEN, requested_token_type=AWS))
    by_key = {"actor_token": presigned(world.site, key_of(aws)), "actor_token_type": PRESIGNED}
    given(exchange(world.site, world.id_token(), ID_TOKEN, role=role, **by_key))


def test_exchange_of_a_session_by_the_actor_that_it_is_meant_for_keeps_it_the_subjects(world: World) -> None:
    pairs = [
        ("grant_type", EXCHANGE),
        ("subject_token", world.id_token()),
        ("subject_token_type", ID_TOKEN),
        ("role", world.person),
        ("audience", world.service),
        ("audience", "https://b.example"),
    ]
    meant = given(token(world.site, pairs))["access_token"]
    refusal(world.site, exchange(world.site, meant, ACCESS_TOKEN), "invalid_request")
    actor = {"actor_token": world.service_token(), "actor_token_type": ACCESS_TOKEN}
    response = given(exchange(world.site, meant, ACCESS_TOKEN, audience="https://b.example", **actor))
    claims = verified(world.site, response["access_token"], "https://b.example")
    subject = verified(world.site, meant, world.service)
    assert claims["sub"] == subject["sub"]
    assert claims["exp"] == subject["exp"]
    assert claims["act"]["sub"] == verified(world.site, actor["actor_token"])["sub"]
    assert claims["act"]["act"]["act"]["sub"] == subject["sub"]
    refusal(
        world.site, exchange(world.site, meant, ACCESS_TOKEN, audience="https://c.example", **actor), "invalid_target"
    )


def test_exchange_with_a_providers_token_as_actor_token(world: World) -> None:
    actor = {"actor_token": world.id_token("batch"), "actor_token_type": JWT}
    response = given(exchange(world.site, world.id_token(), ID_TOKEN, role=world.person, **actor))
    claims = verified(world.site, response["access_token"])
    assert claims["act"] == {"sub": f"{world.provider}:batch", "act": {"sub": f"{world.provider}:ann"}}


def test_exchange_with_an_actor_token_that_was_issued_for_a_service_is_refused(world: World) -> None:
    actor = {"actor_token": world.person_token(audience="https://b.example"), "actor_token_type": ACCESS_TOKEN}
    refusal(world.site, exchange(world.site, world.id_token(), ID_TOKEN, role=world.person, **actor), "invalid_request")


def test_exchange_with_the_subject_as_its_own_actor_is_refused(world: World) -> None:
    own = world.person_token()
    answer = exchange(world.site, own, ACCESS_TOKEN, actor_token=own, actor_token_type=ACCESS_TOKEN)
    refusal(world.site, answer, "invalid_request")


@pytest.mark.parametrize("kind", [ACCESS_TOKEN, JWT])
def test_subject_that_is_not_a_jwt_is_refused_in_words_about_its_type(world: World, kind: str) -> None:
    answer = exchange(world.site, "nonsense", kind)
    refusal(world.site, answer, "invalid_request")
    assert json.loads(answer.body)["error_description"].startswith("The token is not a valid JWT: ")


# --- The request itself ----------------------------------------------------------------------------------------------


def test_token_request_with_client_authentication_is_refused_as_invalid_client(world: World) -> None:
    pairs = {"grant_type": EXCHANGE, "subject_token": world.id_token(), "subject_token_type": ID_TOKEN}
    for more in ({"client_secret": "x"}, {"client_assertion": "x"}):
        answer = token(world.site, {**pairs, "role": world.person, **more})
        refusal(world.site, answer, "invalid_client", 401)
        assert "www-authenticate" in answer.headers


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": AWS}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "unauthorized_client"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token_type": JWT}, "invalid_request"),
        ({"resource": "/relative"}, "invalid_target"),
        ({"resource": "https://b.example/#fragment"}, "invalid_target"),
        ({"audience": "a b"}, "invalid_target"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "a  b"}, "invalid_scope"),
        ({"role": "deployer"}, "invalid_authorization_details"),
        ({"authorization_details": details(role="x")}, "invalid_authorization_details"),
    ],
)
def test_token_request_that_is_wrong_is_refused_with_the_code_of_its_rfc(
    world: World, changes: dict[str, str], code: str
) -> None:
    good = {
        "grant_type": EXCHANGE,
        "subject_token": world.id_token(),
        "subject_token_type": ID_TOKEN,
        "role": world.person,
    }
    refusal(world.site, token(world.site, {**good, **changes}), code)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "[1]",
        "[{}]",
        "nonsense",
        json.dumps([{"type": "other"}]),
        json.dumps([{"type": SESSION}, {"type": SESSION}]),
        f'[{{"type":"{SESSION}","type":"{SESSION}"}}]',
        details(role=5),
        details(polcy="{}"),
        details(policy={"a": 1.5}),
        details(policy=""),
        details(policy="{}"),
        details(policy="x" * 2049),
        details(duration_seconds=True),
        details(duration_seconds=899),
        details(duration_seconds="3600"),
        details(tags=["a"]),
        details(tags={"a": 1}),
        details(tags={"aws:a": "b"}),
        details(tags={"a": "\u0000"}),
        details(transitive_tag_keys="a"),
        details(role_session_name="x\n"),
        details(source_identity="aws:x"),
        details(policy_arns=["short"]),
    ],
)
def test_authorization_details_that_are_not_understood_are_refused(world: World, text: str) -> None:
    answer = exchange(world.site, world.person_token(), ACCESS_TOKEN, authorization_details=text)
    refusal(world.site, answer, "invalid_authorization_details")


# --- Libraries that cannot name a role -------------------------------------------------------------------------------


def pool(world: World, audience: str, text: str, **more: Any) -> Any:
    """A stock identity pool of google-auth, whose requests go to the site."""
    from google.auth import identity_pool

    class Supplier(identity_pool.SubjectTokenSupplier):
        def get_subject_token(self, context: Any, request: Any) -> str:
            return text

    class Answered:
        def __init__(self, answer: Answer) -> None:
            self.status, self.headers, self.data = answer.status, answer.headers, answer.body

    def request(url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Answered:
        assert (url, method) == (f"{ISSUER}/oauth2/token", "POST")
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return Answered(world.site.send("POST", sent, body, path=b"/oauth2/token"))

    credentials = identity_pool.Credentials(
        audience=audience,
        subject_token_type=JWT,
        token_url=f"{ISSUER}/oauth2/token",
        subject_token_supplier=Supplier(),
        **more,
    )
    credentials.refresh(request)
    return credentials.token


def test_google_auth_gets_the_default_role_of_the_provider(world: World) -> None:
    from google.auth.exceptions import OAuthError

    with pytest.raises(OAuthError, match="role"):
        pool(world, world.provider, world.id_token())
    provider(world.site, world.issuer, default_role=world.person)
    claims = verified(world.site, pool(world, world.provider, world.id_token()))
    assert claims[SESSION]["role_arn"] == world.person
    provider(world.site, world.issuer, default_role=world.target)  # its trust policy does not admit the person
    with pytest.raises(OAuthError, match="Not authorized"):
        pool(world, world.provider, world.id_token())
    provider(world.site, world.issuer)


def test_google_auth_with_a_client_gets_the_default_role_of_the_client(world: World) -> None:
    client = register(
        world.site,
        token_endpoint_auth_method="client_secret_basic",
        fapi_exceptions=["bearer_tokens", "client_secret"],
        grant_types=[EXCHANGE],
        roles=[world.person],
        default_role=world.person,
        audiences=["https://pool.example"],
    )
    secret = json.loads(api(world.site, "POST", f"{client.path}/secrets").body)["client_secret"]
    given_credentials = {"client_id": client.id, "client_secret": secret}
    claims = verified(
        world.site, pool(world, "https://pool.example", world.id_token(), **given_credentials), "https://pool.example"
    )
    assert (claims[SESSION]["role_arn"], claims["client_id"]) == (world.person, client.id)
    with pytest.raises(AssertionError, match="default_role"):
        register(world.site, default_role=world.target, roles=[world.person])
