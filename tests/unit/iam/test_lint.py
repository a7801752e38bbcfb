"""A write that is allowed, and probably not meant, says so: to its caller and on the record."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.iam.memory import World, allow, policy, refusal

from daypass.domain.errors import ErrorKind
from daypass.operations import heavy
from daypass.operations.crud import LINT
from daypass.operations.iam import lint


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


async def test_a312_update_assume_role_policy_examines_the_role_s_policies_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = policy({"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"})
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)
    examined: list[str] = []
    monkeypatch.setattr(lint, "powerful", lambda documents, _: bool([examined.append(each.text) for each in documents]))
    document = policy(allow("orders:ReadOnce"))
    await world.call("PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=document)
    for _ in range(3):
        await world.call("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=trust)
    assert examined == [document]


def test_a312_document_of_more_than_a_thousand_characters_is_checked_in_another_process() -> None:
    assert heavy.SMALL <= 1_000


async def test_more_powers_and_longer_sessions_warn_of_a_trust_policy_that_is_not_fit_for_them(world: World) -> None:
    user = {"AWS": "arn:aws:iam::111111111111:user/u"}
    mfa = {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}
    await world.call("CreateUser", UserName="u")
    for name, narrowed in (("open", {}), ("shut", mfa)):
        trust = policy({"Effect": "Allow", "Principal": user, "Action": "sts:AssumeRole", **narrowed})
        await world.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust)

    async def warned(operation: str, role: str, **params: Any) -> str:
        answer = await world.call(operation, RoleName=role, **params)
        return str(answer.get(LINT, ""))

    admin = {"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
    reading = {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
    everything = {"PolicyName": "p", "PolicyDocument": policy(allow("*"))}
    nothing_much = {"PolicyName": "p", "PolicyDocument": policy(allow("orders:Read"))}
    assert await warned("UpdateRole", "open", MaxSessionDuration=43200) == ""
    assert await warned("UpdateRole", "open", MaxSessionDuration=3600) == ""
    assert await warned("AttachRolePolicy", "open", **reading) == ""
    assert "warning trust-no-mfa" in await warned("PutRolePolicy", "open", **everything)
    assert "trust-no-mfa" not in await warned("PutRolePolicy", "open", **nothing_much)  # in place of the one before
    assert "warning trust-no-mfa" in await warned("AttachRolePolicy", "open", **admin)
    assert await warned("AttachRolePolicy", "shut", **admin) == ""
    assert await warned("UpdateRole", "shut", MaxSessionDuration=14400) == ""
    assert await warned("UpdateRole", "shut", Description="d") == ""
    assert await warned("UpdateRole", "shut", MaxSessionDuration=43200) == "warning role-long-session 1:1"
    assert world.journal.events[-1].detail["lint"] == ["warning role-long-session 1:1"]


async def test_attach_of_an_own_managed_policy_that_is_powerful_warns(world: World) -> None:
    trust = policy({"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"})
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trust)
    made = await world.call("CreatePolicy", PolicyName="p", PolicyDocument=policy(allow("iam:CreateAccessKey")))
    answer = await world.call("AttachRolePolicy", RoleName="r", PolicyArn=made["Policy"]["Arn"])
    assert answer[LINT].startswith("warning trust-no-mfa")
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("AttachRolePolicy", RoleName="none", PolicyArn=made["Policy"]["Arn"])
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("AttachRolePolicy", RoleName="r", PolicyArn="arn:aws:iam::111111111111:policy/none")


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
