"""Attacks on Daypass's own administration by policies that were written for AWS: row A116."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT, ROOT_OF_BETA, Answer, Installation, Key, document, trust

from daypass.data import BuiltinPolicies

URL = "idp.a116.example"
JWKS = {"keys": [{"kty": "oct", "k": "AA"}]}
ALLOWING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
Request = tuple[str, str, str, dict[str, Any] | None]


def api(site: Installation, key: Key, method: str, path: str, query: str = "", body: Any = None) -> Answer:
    """A signed call of the management API."""
    data = b"" if body is None else json.dumps(body).encode()
    whole = f"/api/v1{path}"
    extra = {"content-type": "application/json"}
    headers = site.signed(key, data, "daypass", method=method, path=whole, query=query, extra=extra)
    return site.send(method, headers, data, path=whole.encode(), query=query.encode())


def administration(account: str) -> list[Request]:
    """Requests of every kind: what they would change or show belongs to `account`."""
    at = f"account={account}"
    provider = f"/providers/oidc/{URL}"
    return [
        ("PUT", f"{provider}/settings", at, {"settings": {"jwks": JWKS}}),
        ("GET", f"{provider}/settings", at, None),
        ("GET", f"{provider}/keys", at, None),
        ("POST", f"{provider}/keys/refresh", at, None),
        ("GET", "/providers/oidc", at, None),
        ("PUT", "/issuers/allowed", at, {"issuers": []}),
        ("DELETE", "/issuers/allowed", at, None),
        ("PUT", f"/accounts/{account}/guardrails/g", "", {"document": ALLOWING}),
        ("GET", f"/accounts/{account}/guardrails", "", None),
        ("DELETE", f"/accounts/{account}/guardrails/g", "", None),
        ("PUT", "/roles/target/settings", at, {"chained_max_seconds": 43_200}),
        ("GET", "/sessions", at, None),
        ("GET", "/audit/records", at, None),
        ("GET", "/audit/logs", at, None),
        ("POST", "/accounts", "", {"name": "mine", "root_key": True}),
        ("POST", "/revocations", "", {"subject": "account", "value": account, "account": account, "reason": "x"}),
        ("GET", "/revocations", at, None),
    ]


def asking(account: str, method: str, end: str) -> Request:
    """The one of these requests whose path ends so."""
    return next(r for r in administration(account) if r[0] == method and r[1].endswith(end))


def grants(name: str) -> list[dict[str, Any]]:
    """The statements of a policy that was not written with `daypass:` actions in mind."""
    return {
        "not-action": [{"NotAction": "iam:*", "Resource": "*"}],
        "not-action-of-nothing": [{"NotAction": "none:*", "Resource": "*"}],
        "not-resource": [{"Action": "*", "NotResource": "arn:aws:s3:::x"}],
        "named-by-not-resource": [{"Action": "daypass:*", "NotResource": "arn:aws:s3:::x"}],
        "every-service": [{"Action": "*:*", "Resource": "*"}],
        "every-reading": [{"Action": ["*:Get*", "*:List*", "*:Put*", "*:Create*"], "Resource": "*"}],
    }[name]


@pytest.fixture(scope="module")
def provider(site: Installation) -> str:
    for root in (ROOT, ROOT_OF_BETA):
        site.iam("CreateOpenIDConnectProvider", root, Url=f"https://{URL}", **{"ClientIDList.member.1": "x"})
    return URL


def denied(site: Installation, answer: Answer) -> None:
    """403, says no more than the caller's own policies, and is on the record."""
    found = json.loads(answer.body)["error"]
    assert (answer.status, found["code"]) == (403, "AccessDenied"), answer.body
    [record] = site.records(answer.request_id)
    assert record["type"] == "request.denied"


def refused_all(site: Installation, key: Key, account: str) -> None:
    for method, path, query, body in administration(account):
        answer = api(site, key, method, path, query, body)
        assert answer.status == 403, (method, path, answer.body)
        denied(site, answer)


@pytest.mark.parametrize(
    "name", ["not-action", "not-action-of-nothing", "not-resource", "named-by-not-resource", "every-service"]
)
def test_a116_grants_by_exclusion_or_wildcard_service_administer_nothing(
    site: Installation, provider: str, name: str
) -> None:
    _, key = site.user(f"a116-{name}", policy=document(*grants(name)))
    refused_all(site, key, ALPHA)
    refused_all(site, key, BETA)


def test_a116_every_service_by_verb_administers_nothing(site: Installation, provider: str) -> None:
    _, key = site.user("a116-verbs", policy=document(*grants("every-reading")))
    refused_all(site, key, ALPHA)


def test_a116_power_user_administers_nothing_in_the_operator_account_or_a_tenant(
    site: Installation, provider: str
) -> None:
    text = BuiltinPolicies()["arn:aws:iam::aws:policy/PowerUserAccess"]
    assert "NotAction" in text
    _, operator = site.user("a116-power", policy=text)
    refused_all(site, operator, ALPHA)
    refused_all(site, operator, BETA)
    _, tenant = site.user("a116-power", ROOT_OF_BETA, text)
    refused_all(site, tenant, BETA)
    refused_all(site, tenant, ALPHA)


def test_a116_deny_by_not_action_still_denies_administration(site: Installation) -> None:
    everything = {"Action": "*", "Resource": "*"}
    _, key = site.user(
        "a116-deny", policy=document(everything, {"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"})
    )
    answer = api(site, key, "GET", "/sessions")
    denied(site, answer)
    assert "with an explicit deny" in json.loads(answer.body)["error"]["message"]
    assert api(site, site.user("a116-admin", policy=document(everything))[1], "GET", "/sessions").status == 200


@pytest.mark.parametrize(
    ("request_", "action", "also"),
    [
        (
            asking(ALPHA, "PUT", "oidc/" + URL + "/settings"),
            "PutProviderSettings",
            "iam:UpdateOpenIDConnectProviderThumbprint",
        ),
        (asking(ALPHA, "PUT", "/issuers/allowed"), "PutAllowedIssuers", "iam:CreateOpenIDConnectProvider"),
        (asking(BETA, "PUT", "/guardrails/g"), "PutGuardrail", "organizations:UpdatePolicy"),
        (asking(BETA, "DELETE", "/guardrails/g"), "DeleteGuardrail", "organizations:DetachPolicy"),
        (asking(ALPHA, "PUT", "target/settings"), "PutRoleSettings", "iam:UpdateRole"),
        (asking(ALPHA, "POST", "/accounts"), "CreateAccount", "organizations:CreateAccount"),
    ],
)
def test_a116_what_changes_who_may_assume_needs_awss_permission_too(
    site: Installation, provider: str, request_: Request, action: str, also: str
) -> None:
    named = {"Action": f"daypass:{action}", "Resource": "arn:aws:daypass::*:*"}
    _, key = site.user(f"a116-{action}", policy=document(named))
    method, path, query, body = request_
    answer = api(site, key, method, path, query, body)
    denied(site, answer)
    assert also in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("kind", ["account", "role"])
def test_a116_lifting_a_block_needs_awss_permission_too(site: Installation, kind: str) -> None:
    role = site.iam("CreateRole", ROOT_OF_BETA, RoleName=f"a116-{kind}", AssumeRolePolicyDocument=trust(BETA))
    role_id = re.search(rb"<RoleId>(\w+)", role.body)
    assert role_id is not None
    value = {"account": BETA, "role": role_id[1].decode()}[kind]
    made = api(
        site, ROOT, "POST", "/revocations", body={"subject": kind, "value": value, "account": BETA, "block": True}
    )
    path = f"/revocations/{json.loads(made.body)['id']}/lift"
    named = {"Action": "daypass:LiftBlock", "Resource": "arn:aws:daypass::*:*"}
    _, key = site.user(f"a116-lift-{kind}", policy=document(named))
    answer = api(site, key, "POST", path)
    denied(site, answer)
    message = json.loads(answer.body)["error"]["message"]
    assert "iam:DeleteRolePolicy" in message
    roles = {"account": f"arn:aws:iam::{BETA}:role/*", "role": f"arn:aws:iam::{BETA}:role/a116-role"}[kind]
    _, key = site.user(
        f"a116-lifter-{kind}", policy=document(named, {"Action": "iam:DeleteRolePolicy", "Resource": roles})
    )
    assert api(site, key, "POST", path).status == 200


def test_a116_other_accounts_need_a_statement_that_names_that_access(site: Installation, provider: str) -> None:
    reading = ("GET", "/sessions", f"account={BETA}")
    for name, statement in {
        "everything": {"Action": "*", "Resource": "*"},
        "any-resource": {"Action": "daypass:*", "Resource": "*"},
        "any-action": {"Action": "*", "Resource": f"arn:aws:daypass::{BETA}:*"},
        "another": {"Action": "daypass:*", "Resource": f"arn:aws:daypass::{ALPHA}:*"},
    }.items():
        _, key = site.user(f"a116-reach-{name}", policy=document(statement))
        answer = api(site, key, *reading)
        denied(site, answer)
        assert "such as DaypassOperatorAccess" in json.loads(answer.body)["error"]["message"]
    refusing = document({"Action": "*", "Resource": "*"}).replace(
        "[", '[{"Effect":"Deny","Action":"daypass:*","Resource":"*"},', 1
    )
    _, key = site.user("a116-reach-denied", policy=refusing)
    answer = api(site, key, *reading)
    denied(site, answer)
    assert "DaypassOperatorAccess" not in answer.body.decode()  # it would not help against an explicit deny
    named = document({"Action": "daypass:ListSessions", "Resource": f"arn:aws:daypass::{BETA}:session/*"})
    _, key = site.user("a116-reach-named", policy=named)
    assert api(site, key, *reading).status == 200
    denied(site, api(site, key, "GET", "/sessions", "account=*"))
    assert api(site, ROOT, *reading).status == 200
    _, stranger = site.user("a116-reach-named", ROOT_OF_BETA, named.replace(BETA, ALPHA))
    denied(site, api(site, stranger, "GET", "/sessions", f"account={ALPHA}"))
