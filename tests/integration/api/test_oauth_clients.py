"""OAuth clients and resource servers by the management API: what is accepted, shown and recorded, and who may do it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, UNTOUCHED, Server, policy
from tests.issuer import number

from daypass.domain.directory import OAuthClient, ResourceServer
from daypass.domain.oauth import client as client_settings
from daypass.operations.iam import login_profiles

KEY = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "kid": "1"}
JWKS = {"keys": [KEY]}
GRANTS = ["client_credentials"]
SECRET = {"token_endpoint_auth_method": "client_secret_basic", "fapi_exceptions": ["client_secret"]}
READ = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}


async def create(server: Server, settings: dict[str, Any], key: Any = ROOT, **query: str) -> Any:
    return await server.api(key, "POST", "/clients", query, {"name": "app", "settings": settings})


async def test_create_client_returns_its_id_arn_and_settings(server: Server) -> None:
    answer = await create(server, {"jwks": JWKS, "grant_types": GRANTS})
    assert answer.status == 201, answer.body
    made = answer.json
    assert made["type"] == "confidential"
    assert made["arn"] == f"arn:aws:daypass::{OPERATOR}:client/{made['client_id']}"
    assert made["settings"] == {"jwks": JWKS, "grant_types": GRANTS}
    shown = await server.api(ROOT, "GET", f"/clients/{made['client_id']}")
    assert shown.json == made
    found = await server.runtime.env.directory.entity(OAuthClient, made["client_id"])
    assert found is not None
    assert found.arn == made["arn"]
    changed = [e for e in await server.events() if e.get("operation") == "daypass:CreateClient"]
    assert [e["type"] for e in changed] == ["directory.changed"]
    assert changed[0]["detail"]["after"]["client_id"] == made["client_id"]


CODE = ["authorization_code"]
CALLBACK = "https://a.example/cb"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, "private_key_jwt needs"),
        ({"jwks": JWKS, "odd": 1}, "odd"),
        ({"jwks": JWKS, "jwks_uri": "https://a.example/jwks"}, "Only one"),
        ({"jwks": {"keys": [{**KEY, "d": "x"}]}}, "private"),
        ({"jwks_uri": "http://a.example/jwks"}, "https://"),
        ({"jwks": JWKS, "grant_types": ["password"]}, "grant_types"),
        ({"jwks": JWKS, "grant_types": ["authorization_code"]}, "redirect_uris"),
        ({"jwks": JWKS, "redirect_uris": ["https://a.example/cb"]}, "authorization_code"),
        ({"jwks": JWKS, "grant_types": CODE, "redirect_uris": ["http://127.0.0.1:0/cb"]}, "redirect_uris: 'http"),
        (
            {
                "jwks": JWKS,
                "grant_types": CODE,
                "redirect_uris": [CALLBACK],
                "post_logout_redirect_uris": ["https://a..b"],
            },
            "post_logout_redirect_uris: 'https",
        ),
        ({"jwks": JWKS, "tls_client_auth_san_dns": "a"}, "tls_client_auth_san_dns"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "fapi_exceptions"),
        ({"token_endpoint_auth_method": "none", "grant_types": GRANTS}, "public client"),
        ({"token_endpoint_auth_method": "none", "fapi_exceptions": ["bearer_tokens"]}, "does not apply"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "tls_client_auth needs"),
        ({"token_endpoint_auth_method": "aws_sigv4", "role": "admin"}, "ARN"),
        (
            {"jwks": {"keys": [{"kty": "RSA", "n": number((1 << 2048) - 1), "e": number(3)}]}},
            "jwks: key 1 is an RSA key with",
        ),
        ({"jwks": JWKS, "roles": ["admin"]}, "roles"),
        ({"jwks": JWKS, "scopes": ["a b"]}, "scopes"),
        ({"jwks": JWKS, "audiences": ["a", "a"]}, "audiences"),
        ({"jwks": JWKS, "refresh_token_seconds": 1}, "refresh_token_seconds"),
    ],
)
@UNTOUCHED
async def test_create_client_with_invalid_settings_names_the_member(
    untouched: Server, settings: dict[str, Any], names: str
) -> None:
    answer = await create(untouched, settings)
    assert (answer.status, answer.code) == (400, "ValidationError")
    assert names in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://a.example/cb",
        "https://a.example/cb#x",
        "https://user@a.example/cb",
        "https://a.example\\@b.example/cb",
        "https://a.example/ cb",
        "javascript:alert(1)",
        "http://localhost/cb",
        "//a.example/cb",
        "com.example.app:/cb",
    ],
)
@UNTOUCHED
async def test_a66_redirect_uri_that_may_lead_elsewhere_is_not_registered(untouched: Server, uri: str) -> None:
    settings = {"jwks": JWKS, "grant_types": ["authorization_code"], "redirect_uris": [uri]}
    assert (await create(untouched, settings)).code == "ValidationError"


async def test_update_client_replaces_settings_and_disables(server: Server) -> None:
    made = (await create(server, {"jwks": JWKS, "grant_types": GRANTS})).json
    path = f"/clients/{made['client_id']}"
    answer = await server.api(ROOT, "PUT", path, body={"enabled": False, "settings": {"jwks": JWKS}})
    assert answer.status == 200, answer.body
    assert (answer.json["enabled"], answer.json["name"]) == (False, "app")
    assert answer.json["settings"] == {"jwks": JWKS}
    found = await server.runtime.env.directory.entity(OAuthClient, made["client_id"])
    assert found is not None
    assert not found.enabled


async def test_client_secrets_are_shown_once_hashed_and_rotated(server: Server) -> None:
    made = (await create(server, SECRET)).json
    path = f"/clients/{made['client_id']}/secrets"
    first, second = [(await server.api(ROOT, "POST", path)).json for _ in range(2)]
    assert (await server.api(ROOT, "POST", path)).code == "LimitExceeded"
    found = await server.runtime.env.directory.entity(OAuthClient, made["client_id"])
    assert found is not None
    assert [login_profiles.matches(first["client_secret"], hashed) for _, _, hashed in found.secrets] == [True, False]
    shown = await server.api(ROOT, "GET", f"/clients/{made['client_id']}")
    record = json.dumps(await server.events())
    for secret in (first, second):
        assert secret["client_secret"] not in record
        assert secret["client_secret"] not in shown.body.decode()
    assert (await server.api(ROOT, "DELETE", f"{path}/{first['id']}")).status == 204
    shown = await server.api(ROOT, "GET", f"/clients/{made['client_id']}")
    assert [secret["id"] for secret in shown.json["secrets"]] == [second["id"]]
    assert (await server.api(ROOT, "DELETE", f"{path}/{first['id']}")).status == 404


async def test_create_secret_for_a_client_with_keys_is_refused(server: Server) -> None:
    made = (await create(server, {"jwks": JWKS})).json
    assert (await server.api(ROOT, "POST", f"/clients/{made['client_id']}/secrets")).code == "ValidationError"


async def test_delete_client_removes_it_and_revokes_its_sessions(server: Server) -> None:
    made = (await create(server, {"jwks": JWKS})).json
    path = f"/clients/{made['client_id']}"
    assert (await server.api(ROOT, "DELETE", path)).status == 204
    assert (await server.api(ROOT, "GET", path)).code == "NoSuchEntity"
    assert await server.runtime.env.directory.entity(OAuthClient, made["client_id"]) is None
    found = (await server.api(ROOT, "GET", "/revocations")).json["revocations"]
    assert [(r["subject"], r["value"]) for r in found] == [("client", made["client_id"])]


async def test_list_clients_pages_and_is_limited_to_the_account(server: Server) -> None:
    own = [(await create(server, {"jwks": JWKS})).json["client_id"] for _ in range(3)]
    theirs = (await create(server, {"jwks": JWKS}, TENANT_ROOT)).json["client_id"]
    first = (await server.api(ROOT, "GET", "/clients", {"limit": 2})).json
    rest = (await server.api(ROOT, "GET", "/clients", {"limit": 2, "after": first["next"]})).json
    assert sorted(c["client_id"] for c in first["clients"] + rest["clients"]) == sorted(own)
    assert rest["next"] == ""
    assert (await server.api(TENANT_ROOT, "GET", f"/clients/{own[0]}")).code == "NoSuchEntity"
    assert (await server.api(TENANT_ROOT, "DELETE", f"/clients/{own[0]}")).code == "NoSuchEntity"
    assert (await server.api(TENANT_ROOT, "GET", f"/clients/{theirs}")).status == 200
    assert (await create(server, {"jwks": JWKS}, TENANT_ROOT, account=OPERATOR)).code == "AccessDenied"
    assert (await create(server, {"jwks": JWKS}, ROOT, account=TENANT)).json["account"] == TENANT


@pytest.mark.parametrize(
    ("action", "also"),
    [
        ("CreateClient", "iam:CreateOpenIDConnectProvider"),
        ("UpdateClient", "iam:UpdateOpenIDConnectProviderThumbprint"),
        ("CreateClientSecret", "iam:UpdateOpenIDConnectProviderThumbprint"),
    ],
)
async def test_a116_who_changes_how_a_client_authenticates_needs_awss_permission_too(
    server: Server, action: str, also: str
) -> None:
    made = (await create(server, SECRET, TENANT_ROOT)).json
    path = f"/clients/{made['client_id']}"
    calls = {
        "CreateClient": ("POST", "/clients", {"name": "app", "settings": {"jwks": JWKS}}),
        "UpdateClient": ("PUT", path, {"name": "b"}),
        "CreateClientSecret": ("POST", f"{path}/secrets", None),
    }
    method, target, body = calls[action]
    for name, document, permitted in (
        ("daypass", policy(f"daypass:{action}"), False),
        ("aws", policy(also), False),
        ("both", policy(f"daypass:{action}", also), True),
    ):
        _, key = await server.user(f"{name}-{action}", TENANT, document)
        answer = await server.api(key, method, target, body=body)
        assert (answer.status in (200, 201)) is permitted, answer.body


# --- Resource servers ------------------------------------------------------------------------------------------------

API = "/resource-servers/https://api.example.com/v1"


@pytest.mark.parametrize(
    ("action", "also"), [("PutResourceServer", "iam:CreatePolicyVersion"), ("DeleteResourceServer", "iam:DeletePolicy")]
)
async def test_a245_who_widens_the_sessions_of_clients_needs_awss_permission_too(
    server: Server, action: str, also: str
) -> None:
    settings = {"scopes": {"read": {"policy": READ}}}
    assert (await server.api(TENANT_ROOT, "PUT", API, body={"name": "api", "settings": settings})).status == 200
    _, key = await server.user("daypass", TENANT, policy("daypass:*"))
    wider = {"name": "api", "settings": {}}
    method, body = ("PUT", wider) if action == "PutResourceServer" else ("DELETE", None)
    refused = await server.api(key, method, API, body=body)
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert f"{also} on resource: arn:aws:iam::{TENANT}:policy/*" in refused.json["error"]["message"]
    event = next(e for e in await server.events() if e.get("operation") == f"daypass:{action}" and e.get("error"))
    assert event["actor"]["arn"].endswith(":user/daypass")
    assert (await server.api(TENANT_ROOT, "GET", API)).json["settings"] == settings
    _, key = await server.user("both", TENANT, policy("daypass:*", also))
    assert (await server.api(key, method, API, body=body)).status in (200, 204)


async def test_put_resource_server_creates_and_replaces_it(server: Server) -> None:
    settings = {"scopes": {"read": {"description": "Read", "policy": READ}, "profile": {}}, "default_scopes": ["read"]}
    body = {"name": "api", "settings": settings}
    made = await server.api(ROOT, "PUT", API, body=body)
    assert made.status == 200, made.body
    assert made.json["arn"] == f"arn:aws:daypass::{OPERATOR}:resource-server/https://api.example.com/v1"
    assert made.json["settings"] == settings
    again = await server.api(ROOT, "PUT", API, body={"name": "api", "settings": {"token_seconds": 300}})
    assert (again.json["settings"], again.json["created_at"]) == ({"token_seconds": 300}, made.json["created_at"])
    assert (await server.api(ROOT, "GET", API)).json == again.json
    assert (await server.api(TENANT_ROOT, "GET", API)).code == "NoSuchEntity"
    listed = (await server.api(ROOT, "GET", "/resource-servers")).json
    assert [r["identifier"] for r in listed["resource_servers"]] == ["https://api.example.com/v1"]
    found = await server.runtime.env.directory.entity(ResourceServer, "https://api.example.com/v1")
    assert found is not None
    assert (await server.api(ROOT, "DELETE", API)).status == 204
    assert await server.runtime.env.directory.entity(ResourceServer, "https://api.example.com/v1") is None
    assert (await server.api(ROOT, "DELETE", API)).code == "NoSuchEntity"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"scopes": {"a b": {}}}, "ValidationError"),
        ({"scopes": {"a": {"policy": {"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}}}}, "Malformed"),
        ({"scopes": {"a": {"policy": {**READ, "Statement": [{"Effect": "Allow", "x": 1.5}]}}}}, "Malformed"),
        ({"default_scopes": ["a"]}, "ValidationError"),
        ({"algorithm": "none"}, "ValidationError"),
        ({"token_seconds": 1}, "ValidationError"),
        ({"odd": 1}, "ValidationError"),
    ],
)
@UNTOUCHED
async def test_put_resource_server_with_invalid_settings_is_refused(
    untouched: Server, settings: dict[str, Any], code: str
) -> None:
    answer = await untouched.api(ROOT, "PUT", API, body={"name": "api", "settings": settings})
    assert answer.status == 400
    assert answer.code.startswith(code)


async def test_create_client_with_settings_that_are_refused_leaves_nothing_in_the_caches(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached: list[str] = []
    monkeypatch.setattr(client_settings, "_key_source", cached.append)
    refused = await create(server, {"jwks": {"keys": [KEY, KEY]}, "grant_types": GRANTS})
    assert refused.status == 400
    assert cached == []
