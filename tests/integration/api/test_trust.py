from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.integration.api.conftest import TENANT, TENANT_ROOT, Server
from tests.issuer import Issuer

from daypass.domain.directory import OidcProvider, Role

ISSUER = "token.actions.githubusercontent.com"


async def tried(server: Server, token: str) -> dict[str, Any]:
    answer = await server.api(TENANT_ROOT, "POST", "/trust/test", body={"role": "deployer", "token": token})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


@pytest.fixture
async def issuer(server: Server) -> Issuer:
    """An issuer that the tenant trusts, and a role for one branch of one repository."""
    issuer = Issuer(ISSUER, "ES256", "sts.amazonaws.com")
    now = server.runtime.clock.now()
    settings = json.dumps({"static_jwks": json.dumps(issuer.jwks())})
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{TENANT}:oidc-provider/{ISSUER}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{ISSUER}:sub": "repo:acme/shop:ref:refs/heads/main"}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await server.write(
        OidcProvider(TENANT, ISSUER, now, ("sts.amazonaws.com",), settings=settings),
        Role(server.runtime.env.ids.unique("AROA"), TENANT, "deployer", "/", now, trust),
    )
    return issuer


async def test_trust_test_token_of_the_branch_is_let_in_and_nothing_is_issued(server: Server, issuer: Issuer) -> None:
    token = issuer.token(server.runtime.clock.now(), sub="repo:acme/shop:ref:refs/heads/main")
    found = await tried(server, token)
    assert (found["let_in"], found["problem"]) == (True, "")
    assert found["keys"][f"{ISSUER}:sub"] == "repo:acme/shop:ref:refs/heads/main"
    assert (await server.api(TENANT_ROOT, "GET", "/sessions")).json["sessions"] == []
    assert token not in json.dumps(await server.events())


async def test_trust_test_token_of_another_branch_is_told_the_claim_that_differs(
    server: Server, issuer: Issuer
) -> None:
    found = await tried(server, issuer.token(server.runtime.clock.now(), sub="repo:acme/shop:ref:refs/heads/dev"))
    assert (found["let_in"], found["admitted"], found["problem"]) == (False, False, "")
    [statement] = next(layer for layer in found["explanation"]["layers"] if layer["layer"] == "resource")["statements"]
    [condition] = statement["conditions"]
    assert (condition["key"], condition["found"]) == (f"{ISSUER}:sub", "repo:acme/shop:ref:refs/heads/dev")


async def test_trust_test_token_that_is_not_verified_is_not_let_in_but_held_against_the_policy(
    server: Server, issuer: Issuer
) -> None:
    now = server.runtime.clock.now()
    good = {"sub": "repo:acme/shop:ref:refs/heads/main"}
    expired = await tried(server, issuer.token(now - 3_600_000, **good))
    assert (expired["let_in"], expired["admitted"]) == (False, True)
    assert "Token expired" in expired["problem"]
    forged = await tried(server, Issuer(ISSUER, "ES256", "sts.amazonaws.com").token(now, **good))
    assert (forged["let_in"], forged["admitted"]) == (False, True)
    assert forged["reason"]
    party = await tried(server, issuer.token(now - 3_600_000, **good, azp="app"))
    assert (party["keys"][f"{ISSUER}:aud"], party["keys"][f"{ISSUER}:oaud"]) == ("app", "sts.amazonaws.com")
    strange = await tried(server, Issuer("other.example.com", "ES256").token(now))
    assert (strange["let_in"], strange["admitted"]) == (False, False)


@pytest.mark.parametrize("age", [60, 7_200])
async def test_trust_test_holds_when_the_person_signed_in_against_the_policy(
    server: Server, issuer: Issuer, age: int
) -> None:
    now = server.runtime.clock.now()
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{TENANT}:oidc-provider/{ISSUER}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"NumericGreaterThan": {"daypass:AuthTime": str(now // 1000 - 600)}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await server.write(Role(server.runtime.env.ids.unique("AROA"), TENANT, "recent", "/", now, trust))
    for issued in (now, now - 3_600_000):  # verified, and expired
        body = {"role": "recent", "token": issuer.token(issued, auth_time=now // 1000 - age)}
        found = (await server.api(TENANT_ROOT, "POST", "/trust/test", body=body)).json
        assert (found["admitted"], found["let_in"]) == (age < 600, age < 600 and issued == now)


async def test_trust_test_token_that_was_used_once_already_is_not_let_in(server: Server, issuer: Issuer) -> None:
    now = server.runtime.clock.now()
    settings = {"static_jwks": json.dumps(issuer.jwks()), "one_time": True}
    answer = await server.api(TENANT_ROOT, "PUT", f"/providers/oidc/{ISSUER}/settings", body={"settings": settings})
    assert answer.status == 200, answer.body
    token = issuer.token(now, sub="repo:acme/shop:ref:refs/heads/main", jti="token-1")
    assert (await tried(server, token))["let_in"]
    assert (await tried(server, token))["let_in"], "a test uses nothing up"
    role = f"arn:aws:iam::{TENANT}:role/deployer"
    asked = {"RoleArn": role, "RoleSessionName": "job", "WebIdentityToken": token}
    body = urlencode({"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", **asked}).encode()
    assert (await server.send("POST", "/", headers={"Host": "daypass.test"}, body=body)).status == 200
    found = await tried(server, token)
    assert (found["let_in"], found["admitted"]) == (False, True)
    assert "used before" in found["problem"]


async def test_trust_test_of_no_token_or_no_role_is_refused(server: Server, issuer: Issuer) -> None:
    body = {"role": "deployer", "token": "a.b.c"}
    assert (await server.api(TENANT_ROOT, "POST", "/trust/test", body=body)).code == "InvalidIdentityToken"
    body = {"role": "none", "token": issuer.token(server.runtime.clock.now())}
    assert (await server.api(TENANT_ROOT, "POST", "/trust/test", body=body)).code == "NoSuchEntity"
