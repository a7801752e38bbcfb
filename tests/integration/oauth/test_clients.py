"""Clients at the token endpoint: how they authenticate, what they may ask for, and the key that their tokens are bound to."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt
import pytest
from tests.attack.installation import ALPHA, BETA, EVERYTHING, ROOT_OF_BETA, Answer, Installation, trust
from tests.attack.tokens import trust_in
from tests.integration.oauth.conftest import World
from tests.issuer import make_key, public_jwk
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    EXCHANGE,
    FORM,
    ID_TOKEN,
    ISSUER,
    SESSION,
    authorization_server,
    exchange,
    given,
    key_of,
    post,
    refusal,
    signed_post,
    verified,
)
from tests.oauth_client import BEARER_TOKENS, Client, DpopKey, api, register, trusting

API = "https://api.example"
READ = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}}
WRITE = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}}


@pytest.fixture(scope="module")
def site(world: World) -> Installation:
    return world.site


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    """A client whose tokens may be bearer tokens, with one role."""
    made = register(site, fapi_exceptions=BEARER_TOKENS, audiences=[API, ISSUER], scopes=["read", "write"])
    role = site.role("of-client", trusting(made), policy=EVERYTHING)
    made.put(roles=[role])
    made.more["role"] = role
    return made


# --- Client credentials ----------------------------------------------------------------------------------------------


def test_client_credentials_gives_a_session_of_the_role_that_trusts_the_client(
    site: Installation, client: Client
) -> None:
    answer = client.token()
    response = given(answer)
    claims = verified(site, response["access_token"], API)
    assert response["token_type"] == "Bearer"
    assert (claims["client_id"], claims["aud"]) == (client.id, API)
    assert claims[SESSION]["role_arn"] == client.more["role"]
    assert claims["act"]["sub"] == f"{client.arn}:{client.id}"
    (event,) = site.records(answer.request_id)
    assert (event["type"], event["client_id"], event["account"]) == ("session.issued", client.id, ALPHA)
    assert event["actor"]["arn"] == client.arn


def test_client_credentials_as_aws_credentials(site: Installation, client: Client) -> None:
    aws = given(client.token(requested_token_type=AWS))
    assert client.id.encode() in site.call(key_of(aws), "GetCallerIdentity").body


def test_trust_policy_decides_over_client_method_audience_and_binding(site: Installation) -> None:
    made = register(site, fapi_exceptions=BEARER_TOKENS, audiences=[API, "https://b.example"], roles=["*"])
    conditions = {
        "daypass:ClientId": made.id,
        "daypass:AuthMethod": "private_key_jwt",
        "daypass:Audience": API,
        "daypass:KeyBound": "true",
    }
    role = site.role("conditional", trusting(made, StringEquals=conditions))
    key = DpopKey(site)
    made.token(dpop=key, role=role)  # gets a nonce
    given(made.token(dpop=key, role=role))
    refusal(site, made.token(role=role), "invalid_grant")
    refusal(site, made.token(dpop=key, role=role, resource="https://b.example"), "invalid_grant")


def test_client_gets_only_what_it_may_ask_for(site: Installation, client: Client) -> None:
    other = site.role("other", trusting(client))
    for more, code in (
        ({"role": other}, "invalid_authorization_details"),
        ({"resource": "https://c.example"}, "invalid_target"),
        ({"scope": "admin"}, "invalid_scope"),
    ):
        record = refusal(site, client.token(**more), code)
        assert record["actor"]["arn"] == client.arn
    assert given(client.token(scope="read"))["scope"] == "read"


def test_client_that_the_role_does_not_trust_is_refused(site: Installation) -> None:
    made = register(site, fapi_exceptions=BEARER_TOKENS, roles=["*"])
    role = site.role("of-nobody", trust(ALPHA))
    record = refusal(site, made.token(role=role), "invalid_grant")
    assert record["type"] == "request.denied"


def test_a162_client_of_another_account_gets_no_role_even_if_the_role_names_it(site: Installation) -> None:
    made = register(site, key=ROOT_OF_BETA, fapi_exceptions=BEARER_TOKENS, roles=["*"])
    assert made.arn.split(":")[4] == BETA
    role = site.role("names-a-stranger", trusting(made))
    refusal(site, made.token(role=role), "invalid_grant")


def test_client_with_a_grant_that_it_may_not_use_is_unauthorized(site: Installation, client: Client) -> None:
    answer = client.token(grant=EXCHANGE, subject_token="x", subject_token_type=ID_TOKEN)
    refusal(site, answer, "unauthorized_client")


def test_disabled_and_deleted_clients_do_not_authenticate(site: Installation) -> None:
    made = register(site, fapi_exceptions=BEARER_TOKENS, roles=["*"])
    role = site.role("of-deleted", trusting(made))
    aws = given(made.token(role=role, requested_token_type=AWS))
    assert api(site, "PUT", made.path, {"enabled": False}).status == 200
    refusal(site, made.token(role=role), "invalid_client", 401)
    assert site.call(key_of(aws), "GetCallerIdentity").status == 200
    assert api(site, "DELETE", made.path).status == 204
    refusal(site, made.token(role=role), "invalid_client", 401)
    assert site.call(key_of(aws), "GetCallerIdentity").code == "ExpiredToken"


# --- private_key_jwt -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{ISSUER}/oauth2/token"},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": []},
        {"aud": None},
        {"iss": "x"},
        {"sub": "DPCLAAAAAAAAAAAAAAAAA"},
        {"exp": None},
        {"exp": 1},
        {"exp": True},
        {"exp": 2**60},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 300},
        {"jti": 5},
        {"header": {"typ": "at+jwt"}},
        {"header": {"typ": "dpop+jwt"}},
        {"header": {"kid": "k2"}},
        {"header": {"alg": "RS256"}},
        {"header": {"crit": ["exp"]}},
        {"header": {"jwk": public_jwk(make_key("ES256"))}},
    ],
)
def test_a160_assertion_that_is_not_exactly_for_this_server_is_refused(
    site: Installation, client: Client, changes: dict[str, Any]
) -> None:
    answer = client.token(**client.credentials(**changes))
    record = refusal(site, answer, "invalid_client", 401)
    assert json.loads(answer.body)["error_description"] == "Client authentication failed."
    assert record["type"] == "request.unauthenticated"


def test_a160_assertion_of_another_key_or_client_is_refused(site: Installation, client: Client) -> None:
    forged = Client(site, client.id, client.arn, make_key("ES256"))
    refusal(site, forged.token(), "invalid_client", 401)
    other = register(site, fapi_exceptions=BEARER_TOKENS)
    refusal(site, client.token(client_id=other.id, **client.credentials()), "invalid_request")
    borrowed = Client(site, other.id, other.arn, client.key)
    refusal(site, borrowed.token(), "invalid_client", 401)


def test_a160_assertion_is_good_once_also_after_a_refused_request(site: Installation, client: Client) -> None:
    used = client.credentials()
    given(client.token(**used))
    refusal(site, client.token(**used), "invalid_client", 401)
    refused = client.credentials()
    refusal(site, client.token(scope="admin", **refused), "invalid_scope")
    refusal(site, client.token(**refused), "invalid_client", 401)


def test_a71_client_that_does_not_exist_is_refused_in_the_same_words(site: Installation, client: Client) -> None:
    unknown = Client(site, "DPCLAAAAAAAAAAAAAAAAA", "", client.key)
    bodies = []
    for answer in (
        unknown.token(),
        Client(site, client.id, "", make_key("ES256")).token(),
        client.token(client_id="x"),
    ):
        body = json.loads(answer.body)
        bodies.append((answer.status, body["error"], body["error_description"], answer.headers["www-authenticate"]))
    assert len(set(bodies)) == 1


def test_a161_two_kinds_of_credentials_are_refused(site: Installation, client: Client) -> None:
    basic = (b"authorization", b"Basic " + base64.b64encode(f"{client.id}:x".encode()))
    refusal(site, client.token(basic, **client.credentials()), "invalid_request")
    refusal(site, client.token(client_secret="x", **client.credentials()), "invalid_request")


# --- Secrets ---------------------------------------------------------------------------------------------------------


def test_a161_client_secret_authenticates_by_its_own_method_while_it_is_active(site: Installation) -> None:
    exceptions = ["client_secret", "bearer_tokens"]
    made = register(site, token_endpoint_auth_method="client_secret_basic", fapi_exceptions=exceptions, roles=["*"])
    role = site.role("of-secret", trusting(made))
    secrets = [json.loads(api(site, "POST", f"{made.path}/secrets").body) for _ in range(2)]

    def basic(secret: str) -> tuple[bytes, bytes]:
        pair = f"{quote_plus(made.id)}:{quote_plus(secret)}"
        return b"authorization", b"Basic " + base64.b64encode(pair.encode())

    for secret in secrets:
        for _ in range(2):  # the second is from the cache
            given(made.token(basic(secret["client_secret"]), role=role))
    good = secrets[0]["client_secret"]
    for bad in (good[:-1], good + "x", f"{secrets[0]['id']}.", "", "é", good.partition(".")[2]):
        refusal(site, made.token(basic(bad), role=role), "invalid_client", 401)
    refusal(site, made.token(client_id=made.id, client_secret=good, role=role), "invalid_client", 401)
    assert api(site, "DELETE", f"{made.path}/secrets/{secrets[0]['id']}").status == 204
    refusal(site, made.token(basic(good), role=role), "invalid_client", 401)
    given(made.token(basic(secrets[1]["client_secret"]), role=role))
    log = b"".join(site.record_bytes()) + site.log.getvalue().encode()
    assert good.encode() not in log


# --- Workloads -------------------------------------------------------------------------------------------------------


def test_workload_is_its_role(site: Installation, world: World) -> None:
    worker = site.role("worker", trust(ALPHA), policy=EVERYTHING)
    target = site.role("worker-target", trust(worker))
    made = register(site, token_endpoint_auth_method="aws_sigv4", role=worker, roles=[target])
    _, user = site.user("starts-workers", policy=EVERYTHING)
    key = site.assume(user, worker).key
    other = site.assume(user, site.role("no-worker", trust(ALPHA))).key

    def asked(signer: Any, **more: str) -> Any:

        pairs = {"grant_type": "client_credentials", "client_id": made.id, **more}
        return signed_post(site, signer, "/oauth2/token", pairs)

    own = verified(site, given(asked(key))["access_token"])
    assert (own[SESSION]["role_arn"], own["client_id"]) == (worker, made.id)
    chained = verified(site, given(asked(key, role=target))["access_token"])
    assert (chained[SESSION]["role_arn"], chained["client_id"]) == (target, made.id)
    refusal(site, asked(other), "invalid_client", 401)
    refusal(site, asked(user), "invalid_client", 401)
    refusal(site, made.token(client_id=made.id), "invalid_client", 401)


# --- Resource servers ------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(site: Installation) -> str:
    """A resource server with scopes; its identifier."""
    settings = {"scopes": {"read": {"policy": READ}, "write": {"policy": WRITE}, "profile": {}}, "token_seconds": 600}
    put(site, settings)
    yield API
    put(site, {})


def put(site: Installation, settings: dict[str, Any]) -> None:
    answer = api(site, "PUT", f"/resource-servers/{API}", {"name": "api", "settings": settings})
    assert answer.status == 200, answer.body


def test_scope_is_the_session_policy_of_the_resource_server(
    site: Installation, client: Client, registered: str
) -> None:
    def allowed(scope: str) -> tuple[int, int]:
        aws = key_of(given(client.token(scope=scope, requested_token_type=AWS)))
        return tuple(site.call(aws, action, service="iam").status for action in ("ListUsers", "ListRoles"))

    assert allowed("read") == (200, 403)
    assert allowed("write") == (403, 200)
    assert allowed("read write") == (200, 200)
    response = given(client.token(scope="read"))
    assert response["expires_in"] <= 600
    own = {"policy": json.dumps({**READ, "Statement": {**READ["Statement"], "Action": "iam:ListRoles"}})}
    asked = json.dumps([{"type": SESSION, "role": client.more["role"], **own}])
    aws = key_of(given(client.token(scope="read write", requested_token_type=AWS, authorization_details=asked)))
    assert [site.call(aws, a, service="iam").status for a in ("ListUsers", "ListRoles")] == [403, 200]


def test_scope_of_a_resource_server_is_required_and_known(site: Installation, client: Client, registered: str) -> None:
    refusal(site, client.token(), "invalid_scope")
    client.put(scopes=["read", "write", "odd"])
    refusal(site, client.token(scope="odd"), "invalid_scope")
    put(site, {"scopes": {"read": {"policy": READ}}, "default_scopes": ["read"]})
    assert given(client.token())["scope"] == "read"


def test_exchange_for_a_resource_server_narrows_the_session_to_its_scope(
    site: Installation, world: World, registered: str
) -> None:
    own = world.person_token()
    narrowed = given(exchange(site, own, ACCESS_TOKEN, resource=API, scope="read", requested_token_type=AWS))
    assert [site.call(key_of(narrowed), a, service="iam").status for a in ("ListUsers", "ListRoles")] == [200, 403]
    assert narrowed["expires_in"] <= 600
    refusal(site, exchange(site, own, ACCESS_TOKEN, resource=API), "invalid_scope")


def test_algorithm_of_the_resource_server_signs_its_tokens(site: Installation, client: Client) -> None:
    answer = api(site, "PUT", f"/resource-servers/{API}", {"name": "api", "settings": {"algorithm": "EdDSA"}})
    assert answer.status == 400  # the settings have no EdDSA keys
    put(site, {"algorithm": "ES256"})
    verified(site, given(client.token())["access_token"], API)
    put(site, {})


# --- Introspection and revocation ------------------------------------------------------------------------------------


def test_client_introspects_and_revokes_its_own_tokens_only(site: Installation, client: Client, world: World) -> None:
    own, theirs = given(client.token())["access_token"], world.person_token()

    def asked(path: str, text: str) -> Any:
        return post(site, path, {"token": text, **client.credentials()})

    seen = given(asked("/oauth2/introspect", own))
    assert (seen["active"], seen["client_id"]) == (True, client.id)
    answer = asked("/oauth2/introspect", theirs)
    assert given(answer) == {"active": False}
    assert site.records(answer.request_id)[0]["error"] == "access_denied"
    refused = asked("/oauth2/revoke", theirs)
    refusal(site, refused, "unauthorized_client")
    assert site.records(refused.request_id)[0]["error"] == "unauthorized_client"
    assert given(exchange(site, theirs, ACCESS_TOKEN))
    assert asked("/oauth2/revoke", own).status == 200
    assert given(asked("/oauth2/introspect", own)) == {"active": False}


def test_client_of_a_resource_server_introspects_tokens_for_it(site: Installation, client: Client) -> None:
    gateway = register(site, fapi_exceptions=BEARER_TOKENS)
    text = given(client.token())["access_token"]

    def seen() -> Any:
        return given(post(site, "/oauth2/introspect", {"token": text, **gateway.credentials()}))

    assert seen() == {"active": False}
    put(site, {"introspection_clients": [gateway.id]})
    assert seen()["active"] is True
    put(site, {})


def test_introspect_by_a_client_of_another_account_that_the_resource_server_lists_is_inactive(
    site: Installation, client: Client
) -> None:
    foreign = register(site, key=ROOT_OF_BETA, fapi_exceptions=BEARER_TOKENS)
    text = given(client.token())["access_token"]
    put(site, {"introspection_clients": [foreign.id]})
    assert given(post(site, "/oauth2/introspect", {"token": text, **foreign.credentials()})) == {"active": False}
    put(site, {})


def test_a160_assertion_at_introspection_is_good_once(site: Installation, client: Client) -> None:
    used = client.credentials()
    given(post(site, "/oauth2/introspect", {"token": "x", **used}))
    refusal(site, post(site, "/oauth2/introspect", {"token": "x", **used}), "invalid_client", 401)
    refusal(site, client.token(**used), "invalid_client", 401)


def test_public_client_does_not_introspect(site: Installation) -> None:
    public = register(
        site,
        token_endpoint_auth_method="none",
        grant_types=["authorization_code"],
        redirect_uris=["http://127.0.0.1/cb"],
    )
    refusal(site, post(site, "/oauth2/introspect", {"token": "x", "client_id": public.id}), "invalid_client", 401)
    assert post(site, "/oauth2/revoke", {"token": "x", "client_id": public.id}).status == 200
    refusal(site, public.token(client_id=public.id), "unauthorized_client")


def test_a615_client_exchanges_no_token_at_aws_sign_in_without_the_grant(site: Installation, world: World) -> None:
    """A public client's id is known to all. With it, anybody's token had roles that admit this client alone."""
    app = register(
        site,
        token_endpoint_auth_method="none",
        grant_types=["authorization_code"],
        redirect_uris=["http://127.0.0.1/cb"],
        roles=["*"],
    )
    conditions = {"idp.example.com:aud": "daypass", "daypass:ClientId": app.id}
    role = site.role("for-the-app", trust_in(world.provider, StringEquals=conditions))

    def asked() -> Answer:
        members = {"grant_type": EXCHANGE, "subject_token": world.id_token(), "subject_token_type": ID_TOKEN}
        body = json.dumps({**members, "client_id": app.id, "role": role}).encode()
        headers = [(b"content-type", b"application/json")]
        return site.send("POST", headers, body, path=b"/v1/token", query=b"x-amz-oauth-token-method=token-exchange")

    refused = asked()
    assert (refused.status, refused.headers["x-amzn-errortype"]) == (403, "AccessDeniedException"), refused.body
    assert [record["error"] for record in site.records(refused.request_id)] == ["unauthorized_client"]
    app.put(grant_types=["authorization_code", EXCHANGE])
    assert given(asked())["issued_token_type"]


# --- DPoP ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bound(site: Installation) -> Client:
    """A client with the defaults: its tokens must be bound."""
    made = register(site, audiences=[ISSUER, API])
    made.put(roles=[site.role("of-bound", trusting(made), policy=EVERYTHING)])
    return made


def dpop_token(client: Client) -> tuple[DpopKey, str]:
    key = DpopKey(client.site)
    refusal(client.site, client.token(dpop=key), "use_dpop_nonce")
    response = given(client.token(dpop=key))
    assert response["token_type"] == "DPoP"
    return key, response["access_token"]


def test_client_without_exceptions_gets_bound_tokens_only(site: Installation, bound: Client) -> None:
    refused = bound.token()
    refusal(site, refused, "invalid_dpop_proof")
    assert refused.headers["dpop-nonce"]  # of the proof that is missing (RFC 9449, 8.2)
    key, text = dpop_token(bound)
    assert verified(site, text)["cnf"] == {"jkt": key.thumbprint}


def test_dpop_token_is_accepted_with_its_proof(site: Installation, bound: Client) -> None:
    key, text = dpop_token(bound)
    own = (b"authorization", f"DPoP {text}".encode())
    answer = post(site, "/oauth2/introspect", {"token": text}, own, key.header("/oauth2/introspect", token=text))
    seen = given(answer)
    assert (seen["active"], seen["token_type"], seen["cnf"]) == (True, "DPoP", {"jkt": key.thumbprint})
    assert answer.headers["dpop-nonce"]


def test_dpop_token_is_exchanged_by_the_holder_of_its_key_and_stays_bound(site: Installation, bound: Client) -> None:
    key, text = dpop_token(bound)
    record = refusal(site, exchange(site, text, ACCESS_TOKEN), "invalid_request")
    assert "bound to another key" in record["detail"]["private"]["reason"]
    other = DpopKey(site, nonce=key.nonce)
    pairs = {"grant_type": EXCHANGE, "subject_token": text, "subject_token_type": ACCESS_TOKEN}
    refusal(site, post(site, "/oauth2/token", pairs, other.header()), "invalid_request")
    again = given(post(site, "/oauth2/token", pairs, key.header()))
    assert verified(site, again["access_token"])["cnf"] == {"jkt": key.thumbprint}
    aws = given(post(site, "/oauth2/token", {**pairs, "requested_token_type": AWS}, key.header()))
    assert site.call(key_of(aws), "GetCallerIdentity").status == 200


def test_metadata_of_clients_is_published(site: Installation) -> None:
    served = json.loads(site.send("GET", path=b"/.well-known/oauth-authorization-server").body)
    assert "private_key_jwt" in served["token_endpoint_auth_methods_supported"]
    assert "ES256" in served["dpop_signing_alg_values_supported"]
    assert "none" not in served["token_endpoint_auth_signing_alg_values_supported"]
    assert "client_credentials" in served["grant_types_supported"]


# --- Signed introspection and the metadata of resources ------------------------------------------------------------


def test_a163_signed_introspection_is_for_clients_that_accept_it_and_is_not_an_access_token(
    site: Installation, client: Client
) -> None:
    text = given(client.token())["access_token"]
    accept = (b"accept", b"application/token-introspection+jwt")
    pairs = {"token": text, **client.credentials()}
    answer = site.send("POST", [*FORM, accept], urlencode(pairs).encode(), path=b"/oauth2/introspect")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/token-introspection+jwt")
    signed = answer.body.decode()
    claims = verified(site, signed, client.id)
    assert claims["token_introspection"]["active"] is True
    assert "sealed" not in claims["token_introspection"][SESSION]
    assert jwt.get_unverified_header(signed)["typ"] == "token-introspection+jwt"
    refusal(site, exchange(site, signed, ACCESS_TOKEN), "invalid_request")  # it is not an access token
    for value in (
        b"application/token-introspection+jwt;q=0, */*",
        b"application/token-introspection+jwt;q=0.5, application/json",
    ):
        sent = urlencode({"token": text, **client.credentials()}).encode()
        answer = site.send("POST", [*FORM, (b"accept", value)], sent, path=b"/oauth2/introspect")
        assert answer.headers["content-type"] == "application/json"
    pairs = {"token": "x", **client.credentials()}
    answer = site.send("POST", [*FORM, accept], urlencode(pairs).encode(), path=b"/oauth2/introspect")
    assert verified(site, answer.body.decode(), client.id)["token_introspection"] == {"active": False}


def test_metadata_of_this_server_as_a_resource_is_named_by_the_challenge(site: Installation) -> None:
    refused = post(site, "/oauth2/introspect", {"token": "x"}, (b"authorization", b"Bearer x"))
    where = f"{ISSUER}/.well-known/oauth-protected-resource"
    assert f'resource_metadata="{where}"' in refused.headers["www-authenticate"]
    served = json.loads(site.send("GET", path=b"/.well-known/oauth-protected-resource").body)
    assert (served["resource"], served["authorization_servers"]) == (ISSUER, [ISSUER])
    assert served["tls_client_certificate_bound_access_tokens"] is True


def test_metadata_for_a_resource_server_names_its_scopes(site: Installation, registered: str) -> None:
    found = json.loads(api(site, "GET", f"/resource-servers/{registered}/metadata").body)
    assert (found["resource"], found["authorization_servers"]) == (registered, [ISSUER])
    assert found["scopes_supported"] == ["read", "write", "profile"]
    assert api(site, "GET", "/resource-servers/https://no.example/metadata").status == 404


def test_secret_that_another_process_has_just_made_is_accepted_at_once(tmp_path: Path) -> None:
    seldom = {"poll_ms": 60_000}
    with authorization_server(tmp_path) as one, authorization_server(tmp_path, one.wall, directory=seldom) as two:
        exceptions = ["client_secret", *BEARER_TOKENS]
        made = register(one, token_endpoint_auth_method="client_secret_post", fapi_exceptions=exceptions)
        there = Client(two, made.id, made.arn)
        refusal(two, there.token(client_id=made.id, client_secret="guess"), "invalid_client", 401)
        secret = json.loads(api(one, "POST", f"{made.path}/secrets").body)["client_secret"]
        answer = there.token(client_id=made.id, client_secret=secret)
        assert json.loads(answer.body)["error"] == "invalid_request"  # it names no role
        refusal(two, there.token(client_id=made.id, client_secret=f"{secret}x"), "invalid_client", 401)
