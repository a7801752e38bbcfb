"""Inline and attached policies: the same life for users, groups and roles."""

from __future__ import annotations

import pytest
from tests.unit.iam.memory import World, allow, policy, refusal

from daypass.domain.errors import ErrorKind

ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
READ = "arn:aws:iam::aws:policy/ReadOnlyAccess"
TRUST = policy({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})


async def owner(world: World, noun: str) -> dict[str, str]:
    more = {"AssumeRolePolicyDocument": TRUST} if noun == "Role" else {}
    await world.call(f"Create{noun}", **{f"{noun}Name": "x"}, **more)
    return {f"{noun}Name": "x"}


@pytest.mark.parametrize("noun", ["User", "Group", "Role"])
async def test_inline_policy_is_put_shown_listed_and_deleted(world: World, noun: str) -> None:
    named = await owner(world, noun)
    document = policy(allow("s3:GetObject", "arn:aws:s3:::b/*"))
    for name in ("zebra", "apple"):
        await world.call(f"Put{noun}Policy", **named, PolicyName=name, PolicyDocument=document)
    shown = await world.call(f"Get{noun}Policy", **named, PolicyName="apple")
    assert (shown[f"{noun}Name"], shown["PolicyName"]) == ("x", "apple")
    assert (await world.call(f"List{noun}Policies", **named))["PolicyNames"] == ["apple", "zebra"]
    await world.call(f"Delete{noun}Policy", **named, PolicyName="apple")
    assert (await world.call(f"List{noun}Policies", **named))["PolicyNames"] == ["zebra"]
    message = f"The {noun.lower()} policy with name apple cannot be found."
    with refusal(ErrorKind.NOT_FOUND, message):
        await world.call(f"Get{noun}Policy", **named, PolicyName="apple")
    with refusal(ErrorKind.NOT_FOUND, message):
        await world.call(f"Delete{noun}Policy", **named, PolicyName="apple")


@pytest.mark.parametrize("noun", ["User", "Group", "Role"])
async def test_managed_policy_is_attached_listed_and_detached(world: World, noun: str) -> None:
    named = await owner(world, noun)
    for arn in (READ, ADMIN):
        await world.call(f"Attach{noun}Policy", **named, PolicyArn=arn)
    listed = (await world.call(f"ListAttached{noun}Policies", **named))["AttachedPolicies"]
    assert {found["PolicyArn"] for found in listed} == {READ, ADMIN}
    assert {found["PolicyName"] for found in listed} == {"ReadOnlyAccess", "AdministratorAccess"}
    await world.call(f"Detach{noun}Policy", **named, PolicyArn=READ)
    listed = (await world.call(f"ListAttached{noun}Policies", **named))["AttachedPolicies"]
    assert [found["PolicyArn"] for found in listed] == [ADMIN]
    with refusal(ErrorKind.NOT_FOUND):
        await world.call(f"Detach{noun}Policy", **named, PolicyArn=READ)


async def test_policy_tags_tell_case_apart_and_go_one_by_one(world: World) -> None:
    tags = [{"Key": "team", "Value": "a"}, {"Key": "Team", "Value": "b"}]
    made = await world.call("CreatePolicy", PolicyName="p", PolicyDocument=policy(allow("s3:Get*")), Tags=tags)
    arn = made["Policy"]["Arn"]
    await world.call("UntagPolicy", PolicyArn=arn, TagKeys=["Team", "absent"])
    assert (await world.call("ListPolicyTags", PolicyArn=arn))["Tags"] == tags[:1]
