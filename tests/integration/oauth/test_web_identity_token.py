"""GetWebIdentityToken: permissions and condition keys, AWS's claims, the account's issuer, limits, and the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.attack.installation import (
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    document,
    form,
    installed,
    trust,
)
from tests.integration.oauth.conftest import World
from tests.oauth import ACCESS_TOKEN, FORM, ID_TOKEN, ISSUER, exchange, given, refusal

AUDIENCE = "https://other-cloud.example"
NAMESPACE = "https://sts.amazonaws.com/"


@pytest.fixture(scope="module")
def enabled(world: World) -> World:
    world.site.iam("EnableOutboundWebIdentityFederation", ROOT)
    return world


def asked(site: Installation, key: Key, *audiences: str, **more: str) -> Answer:
    named = {f"Audience.member.{n}": value for n, value in enumerate(audiences or (AUDIENCE,), 1)}
    return site.call(key, "GetWebIdentityToken", {**named, "SigningAlgorithm": "ES384", **more})


def verified(site: Installation, text: str, audience: str = AUDIENCE) -> dict[str, Any]:
    """The claims, as a service elsewhere verifies them: by discovery from the issuer alone."""
    issuer = jwt.decode(text, options={"verify_signature": False})["iss"]
    path = issuer.removeprefix(ISSUER)
    found = site.send("GET", path=f"{path}/.well-known/openid-configuration".encode())
    metadata = json.loads(found.body)
    assert (found.status, metadata["issuer"]) == (200, issuer)
    keys = json.loads(site.send("GET", path=metadata["jwks_uri"].removeprefix(ISSUER).encode()).body)
    header = jwt.get_unverified_header(text)
    assert header["alg"] in metadata["id_token_signing_alg_values_supported"]
    key = jwt.PyJWKSet.from_dict(keys)[header["kid"]]
    unchecked = {"verify_exp": False, "verify_iat": False}  # the site's clock is set
    return dict(jwt.decode(text, key, [header["alg"]], unchecked, audience=audience, issuer=issuer))


def test_get_web_identity_token_has_awss_claims(enabled: World) -> None:
    site = enabled.site
    session = site.assume(enabled.user, enabled.target, "desk", SourceIdentity="alice").key
    tags = {"Tags.member.1.Key": "job", "Tags.member.1.Value": "42"}
    wanted = {"Audience.member.1": AUDIENCE, "SigningAlgorithm": "ES384", **tags}
    answer = site.call(session, "GetWebIdentityToken", wanted)
    assert answer.status == 200, answer.body
    claims = verified(site, answer.text("WebIdentityToken"))
    assert claims["sub"] == enabled.target
    assert claims["aud"] == AUDIENCE
    assert claims["exp"] - claims["iat"] == 300
    own = claims[NAMESPACE]
    assert (own["aws_account"], own["principal_id"], own["request_tags"]) == (ALPHA, enabled.target, {"job": "42"})
    assert own["original_session_exp"]
    assert claims["https://aws.amazon.com/source_identity"] == "alice"
    assert claims["act"]["sub"].startswith("AIDA")
    info = site.iam("GetOutboundWebIdentityFederationInfo").text("IssuerIdentifier")
    assert claims["iss"] == info
    (record,) = site.records(answer.request_id)
    assert record["type"] == "web_identity.issued"
    assert (record["detail"]["jti"], record["detail"]["audience"]) == (claims["jti"], [AUDIENCE])
    assert answer.text("WebIdentityToken") not in json.dumps(record)


def test_get_web_identity_token_is_nothing_here(enabled: World) -> None:
    text = asked(enabled.site, enabled.user).text("WebIdentityToken")
    for kind in (ACCESS_TOKEN, ID_TOKEN):
        answer = exchange(enabled.site, text, kind)
        assert answer.status == 400
    headers = [(b"authorization", f"Bearer {text}".encode()), (b"content-type", b"application/json")]
    assert enabled.site.send("POST", headers, b"{}", path=b"/access/v1/evaluation").status == 401


def test_get_web_identity_token_condition_keys_decide(enabled: World) -> None:
    site = enabled.site
    conditions = {
        "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": [AUDIENCE, "https://b.example"]},
        "StringEquals": {"sts:SigningAlgorithm": "ES384"},
        "NumericLessThanEquals": {"sts:DurationSeconds": "600"},
    }
    policy = document(
        {"Action": "sts:GetWebIdentityToken", "Resource": "*", "Condition": conditions},
        {
            "Action": "sts:TagGetWebIdentityToken",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestTag/job": "1"}},
        },
    )
    _, key = site.user("condition", policy=policy)
    tag = {"Tags.member.1.Key": "job", "Tags.member.1.Value": "1"}
    assert asked(site, key, AUDIENCE, "https://b.example", DurationSeconds="600", **tag).status == 200
    for more in (
        {"audiences": ("https://c.example",)},
        {"audiences": (AUDIENCE, "https://c.example")},
        {"SigningAlgorithm": "ES256"},
        {"DurationSeconds": "601"},
        {**tag, "Tags.member.1.Value": "2"},
    ):
        audiences = more.pop("audiences", (AUDIENCE,))
        answer = asked(site, key, *audiences, **more)
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert site.records(answer.request_id)[0]["type"] == "request.denied"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"SigningAlgorithm": "RS256"}, "InvalidParameterValue"),  # no setting asks for RSA keys
        ({"SigningAlgorithm": "HS256"}, "InvalidParameterValue"),
        ({"SubjectMode": "OriginIdentity"}, "InvalidParameterValue"),
        ({"DurationSeconds": "59"}, "ValidationError"),
        ({"DurationSeconds": "3601"}, "ValidationError"),
        (
            {f"Tags.member.{n}.{k}": v for n, v in ((1, "a"), (2, "A")) for k, v in (("Key", v), ("Value", "x"))},
            "InvalidParameterValue",
        ),
        (
            {f"Tags.member.{n}.{k}": v for n in range(1, 41) for k, v in (("Key", f"k{n}"), ("Value", "x" * 256))},
            "JWTPayloadSizeExceededException",
        ),
    ],
)
def test_get_web_identity_token_bad_request_is_refused(enabled: World, more: dict[str, str], code: str) -> None:
    answer = asked(enabled.site, enabled.user, **more)
    assert (answer.status, answer.code) == (400, code)
    assert enabled.site.records(answer.request_id)


def test_get_web_identity_token_never_outlives_its_session(enabled: World) -> None:
    site = enabled.site
    session = site.assume(enabled.user, enabled.target, DurationSeconds="900").key
    refused = asked(site, session, DurationSeconds="3600")
    assert (refused.status, refused.code) == (403, "SessionDurationEscalationException")
    assert asked(site, session, DurationSeconds="600").status == 200


def test_get_web_identity_token_where_it_is_disabled_is_refused(enabled: World) -> None:
    site = enabled.site
    _, key = site.user("beta-user", ROOT_OF_BETA, policy=EVERYTHING)
    answer = asked(site, key)
    assert (answer.status, answer.code) == (403, "OutboundWebIdentityFederationDisabledException")
    site.iam("EnableOutboundWebIdentityFederation", ROOT_OF_BETA)
    theirs = verified(site, asked(site, key).text("WebIdentityToken"))
    ours = verified(site, asked(site, enabled.user).text("WebIdentityToken"))
    assert theirs["iss"] != ours["iss"]
    assert theirs[NAMESPACE]["aws_account"] == BETA
    site.iam("DisableOutboundWebIdentityFederation", ROOT_OF_BETA)
    assert asked(site, key).status == 403


def test_get_web_identity_token_of_root_and_federated_users_is_refused(enabled: World) -> None:
    assert asked(enabled.site, ROOT).code == "AccessDenied"
    federated = enabled.site.call(enabled.user, "GetFederationToken", {"Name": "bob", "Policy": EVERYTHING}).key
    assert asked(enabled.site, federated).code == "AccessDenied"


def test_unknown_issuer_path_is_404(enabled: World) -> None:
    for path in (b"/outbound/x/.well-known/openid-configuration", b"/outbound/", b"/outbound/../x"):
        assert enabled.site.send("GET", path=path).status == 404


# --- By token exchange -----------------------------------------------------------------------------------------------


def test_exchange_for_an_id_token_needs_the_same_permission(enabled: World) -> None:
    site = enabled.site
    mine = enabled.person_token()
    answer = exchange(site, mine, ACCESS_TOKEN, requested_token_type=ID_TOKEN, audience=AUDIENCE)
    members = given(answer)
    assert (members["token_type"], members["issued_token_type"]) == ("N_A", ID_TOKEN)
    claims = verified(site, members["access_token"])
    assert (claims["sub"], claims["aud"], claims["exp"] - claims["iat"]) == (enabled.person, AUDIENCE, 300)
    assert site.records(answer.request_id)[0]["type"] == "web_identity.issued"
    theirs = enabled.service_token()  # a role without policies
    refused = exchange(site, theirs, ACCESS_TOKEN, requested_token_type=ID_TOKEN, audience=AUDIENCE)
    assert refusal(site, refused, "invalid_request")["error"] == "access_denied"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "invalid_request"),
        ({"audience": AUDIENCE, "scope": "read"}, "invalid_request"),
        ({"audience": AUDIENCE, "role": f"arn:aws:iam::{ALPHA}:role/target"}, "invalid_request"),
    ],
)
def test_exchange_for_an_id_token_takes_an_audience_alone(enabled: World, more: dict[str, str], code: str) -> None:
    answer = exchange(enabled.site, enabled.person_token(), ACCESS_TOKEN, requested_token_type=ID_TOKEN, **more)
    refusal(enabled.site, answer, code)


def test_exchange_of_a_session_for_other_audiences_is_refused(enabled: World) -> None:
    bound = enabled.person_token(audience=ISSUER)
    answer = exchange(enabled.site, bound, ACCESS_TOKEN, requested_token_type=ID_TOKEN, audience=AUDIENCE)
    refusal(enabled.site, answer, "invalid_target")


# --- Offboarding -----------------------------------------------------------------------------------------------------


def test_offboard_lists_tokens_that_cannot_be_revoked(enabled: World) -> None:
    site = enabled.site
    arn, key = site.user("leaver", policy=EVERYTHING)
    role = site.role("leaver-role", trust(arn), policy=EVERYTHING)
    session = site.assume(key, role).key
    expected = set()
    for holder in (key, session):
        claims = verified(site, asked(site, holder, DurationSeconds="600").text("WebIdentityToken"))
        expected.add((claims["jti"], claims["exp"]))
    asked(site, enabled.user)  # of another person
    body = json.dumps({"user": "leaver"}).encode()
    path = "/api/v1/offboardings"
    headers = site.signed(ROOT, body, "daypass", path=path, extra={"content-type": "application/json"})
    made = json.loads(site.send("POST", headers, body, path=path.encode()).body)
    assert {(one["jti"], one["expires_at"] // 1000) for one in made["outstanding_tokens"]} == expected
    assert made["outstanding_complete"]
    assert [one["audiences"] for one in made["outstanding_tokens"]] == [[AUDIENCE]] * 2
    assert asked(site, key).status == 403


def test_second_installation_gives_a_role_to_a_session_of_the_first(enabled: World, tmp_path: Path) -> None:
    first = enabled.site
    issuer = first.iam("GetOutboundWebIdentityFederationInfo").text("IssuerIdentifier")
    name = issuer.removeprefix("https://")
    keys = first.send("GET", path=f"{issuer.removeprefix(ISSUER)}/.well-known/jwks.json".encode()).body.decode()
    with installed(tmp_path, first.wall) as second:
        arn = second.iam("CreateOpenIDConnectProvider", Url=issuer, **{"ClientIDList.member.1": "second"}).text(
            "OpenIDConnectProviderArn"
        )
        body = json.dumps({"settings": {"static_jwks": keys}}).encode()
        path = f"/api/v1/providers/oidc/{name}/settings"
        more = {"path": path, "method": "PUT", "extra": {"content-type": "application/json"}}
        put = second.send("PUT", second.signed(ROOT, body, "daypass", **more), body, path=path.encode())
        assert put.status == 200, put.body
        trusted = {
            "Principal": {"Federated": arn},
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity"],
            "Condition": {"StringEquals": {f"{name}:aud": "second", f"{name}:sub": enabled.target}},
        }
        role = second.role("bridged", document(trusted))
        session = first.assume(enabled.user, enabled.target, "desk", SourceIdentity="alice").key

        def assumed(text: str) -> Answer:
            body = form(
                "AssumeRoleWithWebIdentity", {"RoleArn": role, "RoleSessionName": "job", "WebIdentityToken": text}
            )
            return second.send("POST", FORM, body)

        answer = assumed(asked(first, session, "second").text("WebIdentityToken"))
        assert answer.status == 200, answer.body
        assert answer.text("SubjectFromWebIdentityToken") == enabled.target
        assert answer.text("SourceIdentity") == "alice"
        for text in (
            asked(first, session, "third").text("WebIdentityToken"),
            asked(first, enabled.user, "second").text("WebIdentityToken"),
        ):
            assert assumed(text).status in (400, 403)
