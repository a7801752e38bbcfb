"""Grants of Daypass's administration by included policies, by what-can and the simulator."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Server, policy

from daypass.domain.directory import Attachment
from daypass.domain.policy.cover import overlap
from daypass.domain.policy.pattern import fold

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
