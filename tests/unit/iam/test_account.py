"""The account as a whole, and the policies that come with Daypass."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from tests.unit.iam.memory import ALPHA, BETA, World, allow, policy, trusting

from daypass.data import BuiltinPolicies
from daypass.domain.policy.document import managed_kind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, PrincipalFacts
from daypass.domain.policy.pattern import fold
from daypass.wire.aws.models import load
from daypass.wire.aws.sts import IAM_OPERATIONS

BUILTIN = "arn:aws:iam::aws:policy/"


async def _fill(world: World) -> None:
    document = policy(allow("s3:*"))
    await world.call("CreateGroup", GroupName="g")
    await world.call("CreateUser", UserName="ann", Tags=[{"Key": "k", "Value": "v"}])
    await world.call("AddUserToGroup", GroupName="g", UserName="ann")
    await world.call("PutUserPolicy", UserName="ann", PolicyName="inline", PolicyDocument=document)
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(ALPHA))
    await world.call("CreatePolicy", PolicyName="p", PolicyDocument=document)
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=f"{BUILTIN}SecurityAudit")
    await world.call("AttachGroupPolicy", GroupName="g", PolicyArn=f"arn:aws:iam::{ALPHA}:policy/p")


async def test_get_account_summary_counts_the_account_alone(world: World) -> None:
    await _fill(world)
    await world.call("CreateUser", world.root(BETA), UserName="other")
    summary = (await world.call("GetAccountSummary"))["SummaryMap"]
    counts = {name: summary[name] for name in ("Users", "Groups", "Roles", "Policies", "PolicyVersionsInUse")}
    assert counts == {"Users": 1, "Groups": 1, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 1}
    assert summary["AccessKeysPerUserQuota"] == 2
    assert all(isinstance(value, int) for value in summary.values())


async def test_get_account_authorization_details_has_everything(world: World) -> None:
    await _fill(world)
    answer = await world.call("GetAccountAuthorizationDetails")
    (user,), (group,), (role,) = (answer[f"{kind}DetailList"] for kind in ("User", "Group", "Role"))
    assert user["GroupList"] == ["g"]
    assert json.loads(unquote(user["UserPolicyList"][0]["PolicyDocument"]))["Statement"][0]["Action"] == "s3:*"
    assert group["AttachedManagedPolicies"] == [{"PolicyName": "p", "PolicyArn": f"arn:aws:iam::{ALPHA}:policy/p"}]
    assert role["AttachedManagedPolicies"][0]["PolicyName"] == "SecurityAudit"
    assert unquote(role["AssumeRolePolicyDocument"]) == trusting(ALPHA)
    assert [shown["PolicyName"] for shown in answer["Policies"]] == ["p", "SecurityAudit"]
    assert answer["Policies"][0]["PolicyVersionList"][0]["IsDefaultVersion"] is True


async def test_get_account_authorization_details_one_by_one_and_filtered(world: World) -> None:
    await _fill(world)
    seen: list[str] = []
    params: dict[str, Any] = {"MaxItems": 1}
    while True:
        answer = await world.call("GetAccountAuthorizationDetails", **params)
        seen += [key for key in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies") if answer[key]]
        if not answer["IsTruncated"]:
            break
        params["Marker"] = answer["Marker"]
    assert seen == ["UserDetailList", "GroupDetailList", "RoleDetailList", "Policies", "Policies"]
    only = await world.call("GetAccountAuthorizationDetails", Filter=["Role", "AWSManagedPolicy"])
    assert (only["UserDetailList"], only["GroupDetailList"]) == ([], [])
    assert [shown["PolicyName"] for shown in only["Policies"]] == ["SecurityAudit"]


def _allows(name: str, action: str, resource: str = "*") -> bool:
    text = BuiltinPolicies()[f"{BUILTIN}{name}"]
    who = PrincipalFacts("User", ALPHA, ((f"arn:aws:iam::{ALPHA}:user/a", "AIDAA"),))
    layer = (NamedPolicy(name, parse(text, managed_kind(f"{BUILTIN}{name}"))),)
    return evaluate(AccessQuery(who, action, resource, {}), Layers(same_account=True, identity=layer)).allowed


POPULAR = (
    *("AdministratorAccess", "AmazonSSMManagedInstanceCore", "AmazonEKSClusterPolicy", "AmazonEKSWorkerNodePolicy"),
    *(
        "AmazonEC2ContainerRegistryReadOnly",
        "AmazonS3ReadOnlyAccess",
        "CloudWatchAgentServerPolicy",
        "AWSXRayDaemonWriteAccess",
    ),
    *(
        "service-role/AmazonECSTaskExecutionRolePolicy",
        "service-role/AWSLambdaBasicExecutionRole",
        "AmazonEKS_CNI_Policy",
    ),
    *(
        "service-role/AWSLambdaVPCAccessExecutionRole",
        "service-role/AmazonEBSCSIDriverPolicy",
        "job-function/ViewOnlyAccess",
    ),
    *("service-role/AmazonRDSEnhancedMonitoringRole", "IAMUserChangePassword", "SecurityAudit", "PowerUserAccess"),
)


def test_builtin_policies_are_all_of_aws_and_two_of_daypass() -> None:
    names = {arn.removeprefix(BUILTIN) for arn in BuiltinPolicies()}
    assert len(names) == len(BuiltinPolicies()) > 1_500
    assert names.issuperset(POPULAR)
    assert {name for name in names if name.startswith("Daypass")} == {
        "DaypassAdministratorAccess",
        "DaypassOperatorAccess",
    }


def test_builtin_policies_of_aws_are_valid_and_none_grants_an_action_of_daypass() -> None:
    who = PrincipalFacts("User", ALPHA, ((f"arn:aws:iam::{ALPHA}:user/a", "AIDAA"),))
    own = f"arn:aws:daypass::{ALPHA}:session/x"
    granting = []
    for arn, text in BuiltinPolicies().items():
        document = parse(text, managed_kind(arn))
        named = any(
            fold(action).startswith("daypass")
            for each in document.statements
            for action in each.written.get("Action", ())
        )
        layers = Layers(same_account=True, identity=(NamedPolicy(arn, document),))
        allowed = evaluate(AccessQuery(who, "daypass:RevokeSession", own, {}), layers).allowed
        if named or allowed or any(statement.administration is not None for statement in document.statements):
            granting.append(arn.removeprefix(BUILTIN))
    assert granting == ["DaypassAdministratorAccess", "DaypassOperatorAccess"]


def test_builtin_policies_are_read_when_one_is_needed() -> None:
    code = """
import sys
from daypass.data import BuiltinPolicies, _listed
from daypass.operations.iam.builtin import Catalog
catalog = Catalog(BuiltinPolicies({"arn:aws:iam::aws:policy/Ours": "{}"}))
for name in ("aws:policy/DaypassOperatorAccess", "aws:policy/Ours", "111122223333:policy/own"):
    catalog.policy(f"arn:aws:iam::{name}")
assert _listed.cache_info().currsize == 0
assert catalog.policy("arn:aws:iam::aws:policy/PowerUserAccess").name == "PowerUserAccess"
assert _listed.cache_info().currsize == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_builtin_policies_are_paged_and_have_the_dates_and_version_of_aws(world: World) -> None:
    found, marker = [], {}
    while True:
        answer = await world.call("ListPolicies", Scope="AWS", MaxItems=1000, **marker)
        found += [policy["Arn"] for policy in answer["Policies"]]
        if not answer["IsTruncated"]:
            break
        marker = {"Marker": answer["Marker"]}
    assert sorted(found) == sorted(BuiltinPolicies())
    under = await world.call("ListPolicies", Scope="AWS", PathPrefix="/job-function/")
    assert "ViewOnlyAccess" in [policy["PolicyName"] for policy in under["Policies"]]
    arn = f"{BUILTIN}PowerUserAccess"
    policy = (await world.call("GetPolicy", PolicyArn=arn))["Policy"]
    version = await world.call("GetPolicyVersion", PolicyArn=arn, VersionId=policy["DefaultVersionId"])
    assert policy["DefaultVersionId"] != "v1"
    assert version["PolicyVersion"]["CreateDate"] == policy["UpdateDate"] > policy["CreateDate"]


@pytest.mark.parametrize(
    ("name", "action", "allowed"),
    [
        ("AdministratorAccess", "orders:Read", True),
        ("PowerUserAccess", "orders:Read", True),
        ("PowerUserAccess", "iam:CreateUser", False),
        ("PowerUserAccess", "iam:ListRoles", True),
        ("PowerUserAccess", "organizations:LeaveOrganization", False),
        ("ReadOnlyAccess", "iam:GetRole", True),
        ("ReadOnlyAccess", "s3:GetObject", True),
        ("ReadOnlyAccess", "s3:PutObject", False),
        ("ReadOnlyAccess", "iam:CreateUser", False),
        ("ReadOnlyAccess", "secretsmanager:GetSecretValue", False),
        ("ReadOnlyAccess", "sts:AssumeRole", False),
        ("IAMFullAccess", "iam:DeleteRole", True),
        ("IAMFullAccess", "s3:GetObject", False),
        ("IAMReadOnlyAccess", "iam:SimulatePrincipalPolicy", True),
        ("IAMReadOnlyAccess", "iam:TagRole", False),
        ("SecurityAudit", "iam:GetRole", True),
        ("SecurityAudit", "s3:GetObject", False),
        ("SecurityAudit", "s3:GetBucketPolicy", True),
        ("SecurityAudit", "dynamodb:Scan", False),
        ("job-function/ViewOnlyAccess", "iam:ListRoles", True),
        ("job-function/ViewOnlyAccess", "iam:GetRole", False),
        ("job-function/ViewOnlyAccess", "s3:GetObject", False),
        ("AmazonS3FullAccess", "s3:DeleteBucket", True),
        ("AmazonS3ReadOnlyAccess", "s3:ListBucket", True),
        ("AmazonS3ReadOnlyAccess", "s3:DeleteBucket", False),
    ],
)
def test_builtin_policy_means_what_its_name_says(name: str, action: str, allowed: bool) -> None:
    assert _allows(name, action) is allowed


def test_builtin_lambda_execute_is_limited_to_logs_and_objects() -> None:
    assert _allows("AWSLambdaExecute", "s3:PutObject", "arn:aws:s3:::bucket/key")
    assert _allows("AWSLambdaExecute", "logs:PutLogEvents", "arn:aws:logs:eu-west-1:111111111111:log-group:x")
    assert not _allows("AWSLambdaExecute", "s3:DeleteObject", "arn:aws:s3:::bucket/key")


def test_wire_table_names_only_operations_of_the_service_model() -> None:
    assert set(IAM_OPERATIONS) <= load("iam").names


async def test_operators_own_builtin_policies_are_found_and_attachable(world: World) -> None:
    arn = f"{BUILTIN}job-function/Billing"
    world.env = replace(world.env, builtin=BuiltinPolicies({arn: policy(allow("billing:*"))}))
    shown = (await world.call("GetPolicy", PolicyArn=arn))["Policy"]
    assert (shown["PolicyName"], shown["Path"]) == ("Billing", "/job-function/")
    listed = (await world.call("ListPolicies", Scope="AWS", MaxItems=1000, PathPrefix="/job-function/"))["Policies"]
    assert "Billing" in [found["PolicyName"] for found in listed]
    await world.call("CreateUser", UserName="ann")
    await world.call("AttachUserPolicy", UserName="ann", PolicyArn=arn)
