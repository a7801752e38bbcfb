"""Trust statements, the linter, and grants of Daypass's administration, by what-can and the simulator."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Server, policy
from tests.issuer import Issuer

from daypass.domain.directory import Attachment, OidcProvider, Role
from daypass.domain.policy.cover import overlap
from daypass.domain.policy.pattern import fold

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


OPEN = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}'


async def test_lint_document_finds_what_a_document_says_against_its_author(server: Server) -> None:
    answer = await server.api(TENANT_ROOT, "POST", "/lint", body={"document": OPEN, "kind": "trust"})
    [finding] = answer.json["findings"]
    assert (finding["id"], finding["severity"], finding["line"]) == ("trust-public", "error", 1)
    assert (await server.api(TENANT_ROOT, "POST", "/lint", body={"document": "{"})).json["findings"][0][
        "id"
    ] == "malformed"


_ROLE = f"arn:aws:iam::{TENANT}:role/"
_CLIENT = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}
_ONE = {"approvers": {"principals": ["group/leads"]}}


def _rule(**changes: Any) -> dict[str, Any]:
    rule = {"roles": ["role/known"], "requesters": {"principals": ["group/staff"]}, "stages": [_ONE]}
    return {**rule, **changes}


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        ("rule", _rule(), []),
        ("rule", _rule(roles=["role/kn*"]), []),
        (
            "rule",
            _rule(roles=["role/known", "role/gone", "role/x-*"]),
            [("unknown-role", "role/gone"), ("unknown-role", "role/x-*")],
        ),
        ("rule", _rule(role_tags={"env": "prod"}), [("unknown-role", "role_tags")]),
        ("rule", _rule(requesters={"principals": ["group/gone", "user/*"]}), [("unknown-principal", "group/gone")]),
        ("rule", _rule(requesters={"principals": ["user/leader"]}), [("rule-never-approved", "approvers")]),
        ("rule", _rule(stages=[{**_ONE, "threshold": 2}]), [("rule-never-approved", "approvers")]),
        ("rule", _rule(stages=[{**_ONE, "threshold": "2"}]), [("malformed", "threshold")]),
        ("rule", _rule(stages=[{"approvers": {"principals": ["*"]}}]), [("rule-anyone", '"*"')]),
        ("rule", _rule(automatic=[{"name": "all", "condition": {}}]), [("rule-always-automatic", "{")]),
        (
            "rule",
            _rule(requesters={"principals": ["user/*"], "condition": {"Bool": {"daypass:OnCall": "true"}}}),
            [("condition-never-true", "condition")],
        ),
        ("rule", _rule(windows=[{"zone": "Europe/Nowhere"}]), [("malformed", "{")]),
        ("rule", _rule(ticket={"webhook": "https://10.0.0.1/"}), [("malformed", "webhook")]),
        ("client", {**_CLIENT, "redirect_uris": ["https://a.example/"]}, []),
        ("client", _CLIENT, [("malformed", "grant_types")]),
        (
            "client",
            {**_CLIENT, "redirect_uris": ["https://a.example/"], "roles": [_ROLE + "known", _ROLE + "gone"]},
            [("unknown-role", "role/gone")],
        ),
        ("client", {"jwks": {"keys": [{"kty": "none"}]}}, [("malformed", "jwks")]),
        ("provider", {"leeway_seconds": 5}, []),
        ("provider", {"leeway_seconds": -5}, [("malformed", "leeway_seconds")]),
        ("provider", {"jwks_url": "https://127.0.0.1/"}, [("malformed", "{")]),
        ("provider", {"default_role": _ROLE + "gone"}, [("unknown-role", "role/gone")]),
        ("resource-server", {"scopes": {"read": {}}}, []),
        ("resource-server", {"token_seconds": 1}, [("malformed", "token_seconds")]),
        ("resource-server", {"scopes": {"read": {"policy": {}}}}, [("malformed", "{")]),
        (
            "resource-server",
            {"scopes": {"read": {"policy": {**json.loads(policy("x:Y")), "Version": "2008-10-17", "Id": "${a}"}}}},
            [("version-old", "policy")],
        ),
    ],
)
async def test_lint_document_of_a_rule_or_settings_names_each_fault_where_it_is(
    server: Server, kind: str, document: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    await server.role("known", TENANT, TENANT)
    for group, name in (("staff", "one"), ("leads", "leader")):
        await server.iam(TENANT_ROOT, "CreateUser", UserName=name)
        await server.iam(TENANT_ROOT, "CreateGroup", GroupName=group)
        await server.iam(TENANT_ROOT, "AddUserToGroup", GroupName=group, UserName=name)
    text = json.dumps(document, indent=1)
    answer = await server.api(TENANT_ROOT, "POST", "/lint", body={"document": text, "kind": kind})
    assert answer.status == 200, answer.body
    found = answer.json["findings"]
    assert [each["id"] for each in found] == [each for each, _ in expected]
    for finding, (_, written) in zip(found, expected, strict=True):
        assert written in text.splitlines()[finding["line"] - 1], finding


async def test_lint_document_for_a_role_considers_what_the_role_may_do(server: Server) -> None:
    await server.role("harmless", TENANT, TENANT)
    await server.role("powerful", TENANT, TENANT, policy("*"))
    trust = json.loads(OPEN)
    trust["Statement"]["Principal"] = {"AWS": TENANT}
    body = {"document": json.dumps(trust), "kind": "trust"}

    async def found(role: str) -> set[str]:
        answer = await server.api(TENANT_ROOT, "POST", "/lint", body={**body, "role": role})
        return {finding["id"] for finding in answer.json["findings"]}

    assert await found("powerful") - await found("harmless") == {"trust-no-mfa"}
    assert (await server.api(TENANT_ROOT, "POST", "/lint", body={**body, "role": "none"})).code == "NoSuchEntity"


async def test_lint_account_pages_through_all_that_is_stored_and_only_there(server: Server) -> None:
    for name in ("a", "b", "c"):
        await server.role(name, TENANT, TENANT, policy("iam:CreateAccessKey"))
    await server.role("foreign", OPERATOR, OPERATOR)
    found, after = [], ""
    for _ in range(20):
        page = (await server.api(TENANT_ROOT, "GET", "/lint", {"limit": 1, "after": after})).json
        found += page["policies"]
        after = page["next"]
        if not after:
            break
    assert not after
    escalating = [p["arn"] for p in found if "grant-escalation" in {f["id"] for f in p["findings"]}]
    assert escalating == [f"arn:aws:iam::{TENANT}:role/{name}" for name in ("a", "b", "c")]
    assert all(f":{TENANT}:" in p["arn"] for p in found)


async def test_lint_account_of_others_is_for_the_operator_alone(server: Server) -> None:
    assert (await server.api(TENANT_ROOT, "GET", "/lint", {"account": OPERATOR})).code == "AccessDenied"
    assert (await server.api(ROOT, "GET", "/lint", {"account": TENANT})).status == 200
    assert (await server.api(TENANT_ROOT, "GET", "/lint", {"after": "planet:"})).code == "ValidationError"


WITHHELD = "administration daypass:*"
ADMINISTRATION = (
    *("CreateAccount", "ListAccounts", "PutGuardrail", "GetGuardrail", "DeleteGuardrail", "PutProviderSettings"),
    *("GetProviderSettings", "GetProviderKeys", "PutAllowedIssuers", "PutRoleSettings", "RevokeSession"),
    *("ListSessions", "ReadAudit", "VerifyAudit", "SimulateAccess", "WhoCanAccess", "TestTrust", "LintPolicies"),
)
AWSS = (
    "iam:UpdateOpenIDConnectProviderThumbprint",
    "iam:CreateOpenIDConnectProvider",
    "iam:UpdateRole",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateSAMLProvider",
    "iam:CreateUser",
    "organizations:CreateAccount",
    "organizations:AttachPolicy",
)
EXPECTED: dict[str, tuple[bool, set[str]]] = {
    # policy: whether it grants Daypass's own actions, and which of AWSS
    "DaypassOperatorAccess": (True, set()),
    "DaypassAdministratorAccess": (True, set()),
    "AdministratorAccess": (False, set(AWSS)),
    "PowerUserAccess": (False, set()),
    "ReadOnlyAccess": (False, set()),
    "IAMFullAccess": (False, {action for action in AWSS if action.startswith("iam:")}),
}


async def test_policies_of_aws_grant_no_administration_and_those_of_daypass_do(server: Server) -> None:
    for number, arn in enumerate(f"arn:aws:iam::aws:policy/{name}" for name in EXPECTED):
        user, _ = await server.user(f"holder{number}", OPERATOR)
        await server.write(Attachment(OPERATOR, user.id, arn, server.runtime.clock.now()))
        answer = await server.api(ROOT, "GET", "/access/what-can", {"principal": user.arn})
        assert answer.status == 200, answer.body
        administers, of_aws = EXPECTED[arn.rpartition("/")[2]]
        assert any(map(administering, answer.json["grants"])) is administers, arn
        everywhere = arn.endswith("/DaypassOperatorAccess")
        own_actions = [f"daypass:{name}" for name in ADMINISTRATION]
        assert await allowed(server, user.arn, own_actions, own("*")) == (set(own_actions) if administers else set()), (
            arn
        )
        assert await allowed(server, user.arn, own_actions, f"arn:aws:daypass::{TENANT}:x/*") == (
            set(own_actions) if everywhere else set()
        ), arn
        assert await allowed(server, user.arn, list(AWSS), "*") == of_aws, arn


def own(name: str) -> str:
    return f"arn:aws:daypass::{OPERATOR}:x/{name}"


def administering(grant: dict[str, Any]) -> bool:
    """Whether what-can says that this grant is of Daypass's own actions, too."""
    asked = "*" if grant["not_action"] else fold(grant["action"])
    return overlap(asked, "daypass:*") and grant["extent"] != "denied" and WITHHELD not in grant["limits"]


async def allowed(server: Server, principal: str, actions: list[str], resource: str) -> set[str]:
    body = {"principal": principal, "actions": actions, "resources": [resource]}
    answer = await server.api(ROOT, "POST", "/simulate", body=body)
    assert answer.status == 200, answer.body
    return {result["action"] for result in answer.json["results"] if result["decision"] == "allowed"}


async def test_what_can_says_which_grants_leave_administration_out(server: Server) -> None:
    user, _ = await server.user("holder", TENANT, policy("*:*", "daypass:Get*", "orders:*", "*"))
    answer = await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": user.arn})
    shown = {grant["action"]: (grant["extent"], grant["limits"]) for grant in answer.json["grants"]}
    assert shown["orders:*"] == ("allowed", [])
    assert shown["daypass:Get*"] == ("allowed", ["administration daypass:* in other accounts"])
    assert WITHHELD not in shown["*"][1]


async def test_explanation_says_why_a_statement_does_not_grant_administration(server: Server) -> None:
    user, _ = await server.user("holder", TENANT, policy("*:*"))
    body = {
        "principal": user.arn,
        "actions": ["daypass:ListSessions"],
        "resources": [own("*").replace(OPERATOR, TENANT)],
    }
    answer = await server.api(TENANT_ROOT, "POST", "/simulate", body=body)
    [result] = answer.json["results"]
    assert result["decision"] == "implicit_deny"
    [identity] = [layer for layer in result["explanation"]["layers"] if layer["layer"] == "identity"]
    assert identity["statements"][0]["failed_at"] == "administration"
    assert "name daypass: or be *" in identity["statements"][0]["would_have_to_be_true"]


async def test_grants_by_exclusion_are_shown_without_administration(server: Server) -> None:
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"iam:*","Resource":"*"},'
    text += '{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::x"},{"Effect":"Allow","Action":"*:*","Resource":"*"}]}'
    user, _ = await server.user("holder", TENANT, text)
    answer = await server.api(TENANT_ROOT, "GET", "/access/what-can", {"principal": user.arn})
    assert [(grant["extent"], WITHHELD in grant["limits"]) for grant in answer.json["grants"]] == [("partly", True)] * 3


async def test_what_can_says_which_grants_of_administration_end_at_the_account(server: Server) -> None:
    statements = [
        {"Effect": "Allow", "Action": ["*", "daypass:List*"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["*", "daypass:Get*"], "Resource": f"arn:aws:daypass::{TENANT}:*"},
        {"Effect": "Allow", "Action": ["daypass:Put*"], "Resource": "arn:aws:daypass::*:*"},
        {"Effect": "Allow", "Action": ["orders:Read"], "Resource": "*"},
    ]
    user, _ = await server.user("holder", OPERATOR, json.dumps({"Version": "2012-10-17", "Statement": statements}))
    answer = await server.api(ROOT, "GET", "/access/what-can", {"principal": user.arn})
    limit = "administration daypass:* in other accounts"
    found = [(grant["action"], grant["resources"], limit in grant["limits"]) for grant in answer.json["grants"]]
    assert found == [
        ("*", ["*"], True),
        ("daypass:List*", ["*"], True),
        ("*", [f"arn:aws:daypass::{TENANT}:*"], True),
        ("daypass:Get*", [f"arn:aws:daypass::{TENANT}:*"], False),
        ("daypass:Put*", ["arn:aws:daypass::*:*"], False),
        ("orders:Read", ["*"], False),
    ]
    assert answer.json["grants"][0]["extent"] == "allowed"
