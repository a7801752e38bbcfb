"""Dynamic client registration (RFC 7591) and its management by the client (RFC 7592)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Answer, Installation, document, trust
from tests.oauth import PRESIGNED, bearer, exchange, given, presigned, verified
from tests.oauth_client import Client, api
from tests.sign_in import CALLBACK, allowed, redeemed, signed_in, site_with_pages, target, user

CREATE = document({"Action": ["daypass:CreateClient", "iam:CreateOpenIDConnectProvider"], "Resource": "*"})
INSIDE = ("10.0.0.1", "127.0.0.1:8443", "[::1]", "169.254.169.254", "localhost", "2130706433", "[::ffff:10.0.0.1]")
ADDRESSES: list[tuple[str, dict[str, Any]]] = [
    ("backchannel_logout_uri", {}),
    ("jwks_uri", {"token_endpoint_auth_method": "private_key_jwt"}),
]
METADATA = {"client_name": "Wiki", "redirect_uris": [CALLBACK], "scope": "openid email"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("site"), oauth={"registration": True}) as made:
        yield made


@pytest.fixture(scope="module")
def initial(site: Installation) -> str:
    """An access token of a principal that may create clients, and do nothing else."""
    return token_with(site, "registrar", CREATE)


def token_with(site: Installation, name: str, policy: str) -> str:
    arn, key = site.user(name, policy=document({"Action": "sts:*", "Resource": "*"}))
    session = site.assume(key, site.role(f"{name}-role", trust(arn), policy=policy)).key
    return str(given(exchange(site, presigned(site, session), PRESIGNED))["access_token"])


def send(site: Installation, method: str, path: str, token: str, body: Any = None) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), *([bearer(token)] if token else [])]
    return site.send(method, headers, data, path=path.encode())


def registered(site: Installation, token: str, **more: Any) -> dict[str, Any]:
    answer = send(site, "POST", "/oauth2/register", token, {**METADATA, **more})
    assert answer.status == 201, answer.body
    assert answer.headers["cache-control"] == "no-store"
    return dict(json.loads(answer.body))


def path_of(made: dict[str, Any]) -> str:
    return str(made["registration_client_uri"]).removeprefix("https://daypass.test")


def test_registered_client_signs_people_in_with_what_it_was_given(site: Installation, initial: str) -> None:
    made = registered(site, initial, token_endpoint_auth_method="client_secret_post")
    assert (made["client_secret_expires_at"], made["client_name"]) == (0, "Wiki")
    client = Client(site, made["client_id"], "")
    code = allowed(signed_in(site, user(site)), target(client))["code"]
    credentials = {"client_id": made["client_id"], "client_secret": made["client_secret"]}
    response = given(redeemed(client, code, **credentials))
    assert verified(site, response["id_token"], client.id)["aud"] == client.id
    assert redeemed(client, code, **{**credentials, "client_secret": made["registration_access_token"]}).status == 401


def test_public_client_gets_no_secret(site: Installation, initial: str) -> None:
    made = registered(site, initial, token_endpoint_auth_method="none")
    assert "client_secret" not in made
    client = Client(site, made["client_id"], "")
    code = allowed(signed_in(site, user(site)), target(client))["code"]
    assert redeemed(client, code).status == 200


def test_registration_is_decided_by_the_policies_of_the_initial_access_token(site: Installation) -> None:
    nobody = token_with(site, "no-registrar", document({"Action": "iam:*", "Resource": "*"}))
    denied = send(site, "POST", "/oauth2/register", nobody, METADATA)
    assert (denied.status, json.loads(denied.body)["error"]) == (400, "access_denied")
    assert b"daypass:CreateClient" in denied.body
    assert send(site, "POST", "/oauth2/register", "", METADATA).status == 401
    assert send(site, "POST", "/oauth2/register", nobody[:-4] + "AAAA", METADATA).status == 401


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"redirect_uris": ["javascript:x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"token_endpoint_auth_method": "aws_sigv4"}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"jwks": {"keys": []}, "token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"client_name": 5}, "invalid_client_metadata"),
        ({"scope": 5}, "invalid_client_metadata"),
        ({"redirect_uris": 1.5}, "invalid_client_metadata"),
        (
            {"jwks": {"keys": [{"kty": 1e3}]}, "token_endpoint_auth_method": "private_key_jwt"},
            "invalid_client_metadata",
        ),
        *(
            ({name: f"https://{host}/x", **more}, "invalid_client_metadata")
            for name, more in ADDRESSES
            for host in INSIDE
        ),
    ],
)
def test_metadata_that_cannot_be_used_are_refused(
    site: Installation, initial: str, more: dict[str, Any], code: str
) -> None:
    made = registered(site, initial)
    for method, path, token in (
        ("POST", "/oauth2/register", initial),
        ("PUT", path_of(made), made["registration_access_token"]),
    ):
        answer = send(site, method, path, token, {**METADATA, **more})
        assert (answer.status, json.loads(answer.body)["error"]) == (400, code)
        (record,) = site.records(answer.request_id)
        assert record["account"] == ALPHA


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize(("name", "more"), ADDRESSES)
def test_a640_address_that_no_request_may_reach_is_refused_where_a_client_is_written(
    site: Installation, name: str, more: dict[str, Any], host: str
) -> None:
    own = {"grant_types": ["authorization_code"], "redirect_uris": [CALLBACK]}
    body = {"name": "inside", "settings": {"token_endpoint_auth_method": "none", **own, **more}}
    made = json.loads(
        api(site, "POST", "/clients", {**body, "settings": {**own, "token_endpoint_auth_method": "none"}}).body
    )
    body["settings"][name] = f"https://{host}/x"
    for method, path in (("POST", "/clients"), ("PUT", f"/clients/{made['client_id']}")):
        answer = api(site, method, path, body)
        assert (answer.status, b"private or reserved range" in answer.body) == (400, True), answer.body
        assert site.records(answer.request_id)[0]["error"]


def test_a640_changes_by_a_client_are_charged_to_it(tmp_path: Path) -> None:
    rates = {"principal_per_second": 1, "principal_burst": 60}
    with site_with_pages(tmp_path / "site", oauth={"registration": True}, rates=rates) as site:
        made = registered(site, token_with(site, "registrar", CREATE))
        own, path = made["registration_access_token"], path_of(made)
        statuses = [send(site, "PUT", path, own, METADATA).status for _ in range(80)]
        assert (statuses[0], statuses.count(429) >= 4) == (200, True), statuses


def test_metadata_that_are_not_known_are_ignored(site: Installation, initial: str) -> None:
    made = registered(site, initial, contacts=["a@example.com"], policy_uri="https://app.example/policy")
    assert "contacts" not in made


def test_client_reads_changes_and_deletes_its_own_registration(site: Installation, initial: str) -> None:
    made = registered(site, initial, roles=["*"], scopes=["read"])
    own, path = made["registration_access_token"], path_of(made)
    shown = json.loads(send(site, "GET", path, own).body)
    assert (shown["client_id"], shown["redirect_uris"]) == (made["client_id"], [CALLBACK])
    assert "client_secret" not in shown
    other = {**METADATA, "client_name": "New", "redirect_uris": ["https://app.example/new"]}
    changed = json.loads(send(site, "PUT", path, own, {**other, "client_id": made["client_id"]}).body)
    assert (changed["client_name"], changed["redirect_uris"]) == ("New", ["https://app.example/new"])
    stored = json.loads(api(site, "GET", f"/clients/{made['client_id']}").body)["settings"]
    assert (stored["roles"], stored["scopes"]) == (["*"], ["read"])
    assert send(site, "DELETE", path, own).status == 204
    assert send(site, "GET", path, own).status == 401
    assert api(site, "GET", f"/clients/{made['client_id']}").status == 404


def test_a524_client_cannot_widen_its_own_registration(site: Installation, initial: str) -> None:
    made = registered(site, initial)
    own, path = made["registration_access_token"], path_of(made)
    wider = {"roles": ["*"], "audiences": ["https://a"], "scopes": ["admin"], "fapi_exceptions": ["pkce"]}
    assert send(site, "PUT", path, own, {**METADATA, **wider}).status == 200
    stored = json.loads(api(site, "GET", f"/clients/{made['client_id']}").body)["settings"]
    assert not stored.keys() & {"roles", "audiences", "scopes"}
    assert "pkce" not in stored["fapi_exceptions"]
    for refused in ({"scope": "openid admin"}, {"client_id": "DPCL22222222222222222"}):
        answer = send(site, "PUT", path, own, {**METADATA, **refused})
        assert json.loads(answer.body)["error"] == "invalid_client_metadata"


def test_a524_registration_access_token_is_for_one_client_and_this_endpoint(site: Installation, initial: str) -> None:
    made, other = registered(site, initial), registered(site, initial)
    own = made["registration_access_token"]
    assert send(site, "GET", path_of(other), own).status == 401
    assert send(site, "GET", path_of(made), own + "x").status == 401
    assert send(site, "GET", path_of(made), initial).status == 401
    assert site.send("GET", [bearer(own)], path=b"/oauth2/userinfo").status == 401
    assert api(site, "PUT", f"/clients/{made['client_id']}", {"enabled": False}).status == 200
    answer = send(site, "GET", path_of(made), own)
    assert (answer.status, json.loads(answer.body)["error"]) == (401, "invalid_token")
    log = b"".join(site.record_bytes()) + site.log.getvalue().encode()
    assert own.encode() not in log


def test_registration_is_off_by_default(tmp_path: Path) -> None:
    with site_with_pages(tmp_path / "site") as site:
        assert send(site, "POST", "/oauth2/register", "x", METADATA).status == 404
        assert send(site, "GET", "/oauth2/register/DPCL22222222222222222", "x").status == 404
        answer = site.send("GET", path=b"/.well-known/openid-configuration")
        assert "registration_endpoint" not in json.loads(answer.body)


def test_registration_endpoint_is_in_the_metadata_where_it_is_on(site: Installation) -> None:
    document_ = json.loads(site.send("GET", path=b"/.well-known/oauth-authorization-server").body)
    assert document_["registration_endpoint"] == "https://daypass.test/oauth2/register"
