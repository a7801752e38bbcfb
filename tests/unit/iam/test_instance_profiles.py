"""Instance profiles: one role in each, and what must be allowed to put it there."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal, trusting

from daypass.domain.errors import ErrorKind
from daypass.operations.iam import paging

ROLE_ARN = f"arn:aws:iam::{ALPHA}:role/r"
PROFILE_ARN = f"arn:aws:iam::{ALPHA}:instance-profile/web"


async def _role(world: World, name: str = "r") -> None:
    await world.call(
        "CreateRole",
        RoleName=name,
        AssumeRolePolicyDocument=trusting(ALPHA),
        Description="shown elsewhere",
        Tags=[{"Key": "k", "Value": "v"}],
    )


async def _profile(world: World, name: str = "web", **more: Any) -> dict[str, Any]:
    return dict((await world.call("CreateInstanceProfile", InstanceProfileName=name, **more))["InstanceProfile"])


async def _filled(world: World, name: str = "web") -> None:
    await _role(world)
    await _profile(world, name)
    await world.call("AddRoleToInstanceProfile", InstanceProfileName=name, RoleName="r")


async def test_create_instance_profile_answers_without_tags_it_has_not(world: World) -> None:
    made = await _profile(world, Path="/p/")
    assert made["InstanceProfileId"].startswith("AIPA")
    assert made == {
        "Path": "/p/",
        "InstanceProfileName": "web",
        "InstanceProfileId": made["InstanceProfileId"],
        "Arn": f"arn:aws:iam::{ALPHA}:instance-profile/p/web",
        "CreateDate": NOW,
        "Roles": [],
    }
    shown = (await world.call("GetInstanceProfile", InstanceProfileName="WEB"))["InstanceProfile"]
    assert shown == {**made, "Tags": []}
    assert (await _profile(world, "b", Tags=[{"Key": "k", "Value": "v"}]))["Tags"] == [{"Key": "k", "Value": "v"}]


async def test_create_instance_profile_same_name_refused_whatever_its_case(world: World) -> None:
    await _profile(world)
    with refusal(ErrorKind.ALREADY_EXISTS, "Instance Profile Web already exists."):
        await _profile(world, "Web", Path="/other/")


async def test_create_instance_profile_over_quota_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "INSTANCE_PROFILES_PER_ACCOUNT", 1)
    await _profile(world)
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for InstanceProfilesPerAccount: 1"):
        await _profile(world, "other")


async def test_role_in_profile_is_shown_in_brief_everywhere(world: World) -> None:
    await _filled(world)
    (shown,) = (await world.call("ListInstanceProfiles"))["InstanceProfiles"]
    assert "Tags" not in shown
    (inside,) = shown["Roles"]
    members = {"Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument"}
    assert set(inside) == members
    assert (await world.call("ListInstanceProfilesForRole", RoleName="r"))["InstanceProfiles"] == [shown]
    details = (await world.call("GetAccountAuthorizationDetails", Filter=["Role"]))["RoleDetailList"]
    assert details[0]["InstanceProfileList"] == [shown]
    assert (await world.call("GetAccountSummary"))["SummaryMap"]["InstanceProfiles"] == 1


async def test_add_role_twice_or_a_second_one_refused(world: World) -> None:
    await _filled(world)
    await _role(world, "second")
    for name in ("r", "second"):
        with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"):
            await world.call("AddRoleToInstanceProfile", InstanceProfileName="web", RoleName=name)


async def test_missing_profile_or_role_is_named(world: World) -> None:
    no_profile = "Instance Profile none cannot be found."
    await _profile(world)
    await _role(world)
    for name in ("GetInstanceProfile", "DeleteInstanceProfile", "ListInstanceProfileTags"):
        with refusal(ErrorKind.NOT_FOUND, no_profile):
            await world.call(name, InstanceProfileName="none")
    for name in ("AddRoleToInstanceProfile", "RemoveRoleFromInstanceProfile"):
        with refusal(ErrorKind.NOT_FOUND, no_profile):
            await world.call(name, InstanceProfileName="none", RoleName="r")
        with refusal(ErrorKind.NOT_FOUND, "The role with name none cannot be found."):
            await world.call(name, InstanceProfileName="web", RoleName="none")
    with refusal(ErrorKind.NOT_FOUND, "Role r in Instance Profile web cannot be found."):
        await world.call("RemoveRoleFromInstanceProfile", InstanceProfileName="web", RoleName="r")
    with refusal(ErrorKind.NOT_FOUND, "The role with name none cannot be found."):
        await world.call("ListInstanceProfilesForRole", RoleName="none")


async def test_neither_role_nor_profile_can_be_deleted_while_together(world: World) -> None:
    await _filled(world)
    message = "Cannot delete entity, must remove roles from instance profile first."
    with refusal(ErrorKind.DELETE_CONFLICT, message):
        await world.call("DeleteRole", RoleName="r")
    with refusal(ErrorKind.DELETE_CONFLICT, message):
        await world.call("DeleteInstanceProfile", InstanceProfileName="web")
    await world.call("RemoveRoleFromInstanceProfile", InstanceProfileName="web", RoleName="r")
    await world.call("DeleteRole", RoleName="r")
    await world.call("DeleteInstanceProfile", InstanceProfileName="web")
    assert (await world.call("ListInstanceProfiles"))["InstanceProfiles"] == []


async def test_list_instance_profiles_pages_by_name_under_a_path(world: World) -> None:
    for name, path in (("b", "/x/"), ("A", "/x/"), ("c", "/y/"), ("D", "/x/")):
        await _profile(world, name, Path=path)
    first = await world.call("ListInstanceProfiles", PathPrefix="/x/", MaxItems=2)
    assert [p["InstanceProfileName"] for p in first["InstanceProfiles"]] == ["A", "b"]
    rest = await world.call("ListInstanceProfiles", PathPrefix="/x/", MaxItems=2, Marker=first["Marker"])
    assert [p["InstanceProfileName"] for p in rest["InstanceProfiles"]] == ["D"]
    assert rest["IsTruncated"] is False
    await _role(world)
    with refusal(ErrorKind.VALIDATION, "Invalid Marker."):
        await world.call("ListInstanceProfilesForRole", RoleName="r", Marker=first["Marker"])


async def test_add_role_needs_pass_role_on_the_role(world: World) -> None:
    await _role(world)
    await _profile(world)
    await world.call("CreateUser", UserName="ann")
    adding = allow("iam:AddRoleToInstanceProfile", PROFILE_ARN)
    passing = allow("iam:PassRole", ROLE_ARN, Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})

    async def attempt(*statements: Any) -> None:
        await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(*statements))
        who = world.as_user("ann")
        await world.call("AddRoleToInstanceProfile", who, InstanceProfileName="web", RoleName="r")

    for statements, action, resource in (
        ((adding,), "iam:PassRole", ROLE_ARN),
        ((passing,), "iam:AddRoleToInstanceProfile", "instance profile web"),
    ):
        with refusal(
            ErrorKind.ACCESS_DENIED,
            f"User: arn:aws:iam::{ALPHA}:user/ann is not authorized to perform: {action} on resource: {resource} "
            f"because no identity-based policy allows the {action} action",
        ):
            await attempt(*statements)
    await attempt(adding, passing)
    shown = (await world.call("GetInstanceProfile", InstanceProfileName="web"))["InstanceProfile"]
    assert [role["RoleName"] for role in shown["Roles"]] == ["r"]


async def test_profiles_are_tagged_with_keys_that_case_tells_apart(world: World) -> None:
    await _profile(world, Tags=[{"Key": "a", "Value": "1"}])
    await world.call("TagInstanceProfile", InstanceProfileName="web", Tags=[{"Key": "A", "Value": "2"}])
    await world.call("UntagInstanceProfile", InstanceProfileName="web", TagKeys=["a"])
    listed = await world.call("ListInstanceProfileTags", InstanceProfileName="web")
    assert listed == {"Tags": [{"Key": "A", "Value": "2"}], "IsTruncated": False}


async def test_profile_tags_decide(world: World) -> None:
    await _profile(world, Tags=[{"Key": "team", "Value": "red"}])
    await _profile(world, "other")
    await world.call("CreateUser", UserName="ann")
    own = allow("iam:DeleteInstanceProfile", Condition={"StringEquals": {"aws:ResourceTag/team": "red"}})
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(own))
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("DeleteInstanceProfile", world.as_user("ann"), InstanceProfileName="other")
    await world.call("DeleteInstanceProfile", world.as_user("ann"), InstanceProfileName="web")


async def test_accounts_do_not_see_one_anothers_profiles(world: World) -> None:
    await _filled(world)
    stranger = world.root(BETA)
    assert (await world.call("ListInstanceProfiles", stranger))["InstanceProfiles"] == []
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("GetInstanceProfile", stranger, InstanceProfileName="web")
    await world.call("CreateInstanceProfile", stranger, InstanceProfileName="web")
