"""A write that is allowed, and probably not meant, says so: to its caller and on the record."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.iam.memory import World, allow, policy, refusal

from daypass.domain.errors import ErrorKind
from daypass.operations.iam.work import LINT


async def test_create_role_with_public_trust_warns_caller_and_record(world: World) -> None:
    trust = policy({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    answer = await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)
    assert answer[LINT].startswith("error trust-public 1:")
    assert world.journal.events[-1].detail["lint"] == answer[LINT].split("; ")


async def test_put_user_policy_that_escalates_warns_and_one_that_does_not_is_silent(world: World) -> None:
    await world.call("CreateUser", UserName="u")
    wide = policy(allow("iam:CreateAccessKey", "*"))
    answer = await world.call("PutUserPolicy", UserName="u", PolicyName="p", PolicyDocument=wide)
    assert "warning grant-escalation" in answer[LINT]
    tight = policy(allow("orders:Read", "arn:aws:orders:::o/1"))
    answer = await world.call("PutUserPolicy", UserName="u", PolicyName="p", PolicyDocument=tight)
    assert LINT not in answer
    assert "lint" not in world.journal.events[-1].detail


async def test_update_assume_role_policy_knows_how_powerful_the_role_is(world: World) -> None:
    trust = policy(
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "sts:AssumeRole"}
    )
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)
    answer = await world.call("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=trust)
    assert "trust-no-mfa" not in answer[LINT]
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=admin)
    answer = await world.call("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=trust)
    assert "warning trust-no-mfa" in answer[LINT]


GITHUB = "token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("condition", "refused"),
    [
        ({"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"}}, True),
        ({"StringLike": {f"{GITHUB}:sub": "repo:*"}}, True),
        ({"StringLikeIfExists": {f"{GITHUB}:sub": "repo:acme/*"}}, True),
        ({"ForAllValues:StringLike": {f"{GITHUB}:sub": "repo:acme/*"}}, True),
        ({"StringNotLike": {f"{GITHUB}:sub": "repo:acme/*"}}, True),
        ({"StringLike": {f"{GITHUB}:sub": ["repo:acme/*", "*"]}}, True),
        ({"StringLike": {f"{GITHUB}:sub": "repo:acme/*"}}, False),
        ({"StringEquals": {f"{GITHUB}:repository_owner": "acme"}}, False),
    ],
)
async def test_create_role_for_a_shared_issuer_must_name_its_customer(
    world: World, condition: dict[str, Any], refused: bool
) -> None:
    principal = {"Federated": f"arn:aws:iam::111111111111:oidc-provider/{GITHUB}"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity"}
    trust = policy({**statement, "Condition": condition})
    if refused:
        with refusal(ErrorKind.MALFORMED_POLICY):
            await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)
    else:
        await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)
