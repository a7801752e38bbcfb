"""Groups with their members, and tags."""

from __future__ import annotations

import pytest
from tests.unit.iam.memory import ALPHA, World, allow, policy, refusal, trusting

from daypass.domain.directory import User
from daypass.domain.errors import ErrorKind


def _tags(**pairs: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


async def test_group_members_get_its_policies_while_they_are_members(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateGroup", GroupName="g")
    await world.call("PutGroupPolicy", GroupName="g", PolicyName="p", PolicyDocument=policy(allow("iam:ListGroups")))
    await world.call("AddUserToGroup", GroupName="g", UserName="ann")
    await world.call("AddUserToGroup", GroupName="G", UserName="ANN")
    await world.call("ListGroups", world.as_user("ann"))
    await world.call("RemoveUserFromGroup", GroupName="g", UserName="ann")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("ListGroups", world.as_user("ann"))


async def test_get_group_pages_members(world: World) -> None:
    await world.call("CreateGroup", GroupName="g")
    for name in ("c", "B", "a"):
        await world.call("CreateUser", UserName=name)
        await world.call("AddUserToGroup", GroupName="g", UserName=name)
    first = await world.call("GetGroup", GroupName="g", MaxItems=2)
    assert first["Group"]["GroupId"].startswith("AGPA")
    rest = await world.call("GetGroup", GroupName="g", Marker=first["Marker"])
    names = [user["UserName"] for page in (first, rest) for user in page["Users"]]
    assert (len(first["Users"]), sorted(names)) == (2, ["B", "a", "c"])
    assert not rest["IsTruncated"]


async def test_get_group_reads_the_members_of_its_page_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.call("CreateGroup", GroupName="g")
    for number in range(20):
        await world.call("CreateUser", UserName=f"u{number}")
        await world.call("AddUserToGroup", GroupName="g", UserName=f"u{number}")
    reads: list[type] = []
    usual = type(world.tx).get
    monkeypatch.setattr(
        type(world.tx), "get", lambda tx, kind, **equals: (reads.append(kind), usual(tx, kind, **equals))[1]
    )
    await world.call("GetGroup", GroupName="g", MaxItems=3)
    assert reads.count(User) == 3


async def test_add_user_to_eleventh_group_refused(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    for number in range(11):
        await world.call("CreateGroup", GroupName=f"g{number}")
    for number in range(10):
        await world.call("AddUserToGroup", GroupName=f"g{number}", UserName="ann")
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for GroupsPerUser: 10"):
        await world.call("AddUserToGroup", GroupName="g10", UserName="ann")
    listed = await world.call("ListGroupsForUser", UserName="ann")
    assert [group["GroupName"] for group in listed["Groups"]] == [f"g{number}" for number in range(10)]


async def test_delete_group_with_members_refused(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateGroup", GroupName="g")
    await world.call("AddUserToGroup", GroupName="g", UserName="ann")
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete entity, must remove users from group first."):
        await world.call("DeleteGroup", GroupName="g")
    await world.call("RemoveUserFromGroup", GroupName="g", UserName="ann")
    await world.call("DeleteGroup", GroupName="g")
    with refusal(ErrorKind.NOT_FOUND, "The group with name g cannot be found."):
        await world.call("GetGroup", GroupName="g")


async def test_update_group_renames(world: World) -> None:
    await world.call("CreateGroup", GroupName="g")
    await world.call("CreateGroup", GroupName="h")
    with refusal(ErrorKind.ALREADY_EXISTS, "Group with name H already exists."):
        await world.call("UpdateGroup", GroupName="g", NewGroupName="H")
    await world.call("UpdateGroup", GroupName="g", NewGroupName="k", NewPath="/p/")
    answer = await world.call("GetGroup", GroupName="k")
    assert answer["Group"]["Arn"] == f"arn:aws:iam::{ALPHA}:group/p/k"


# --- Tags ----------------------------------------------------------------------------------------------------------


async def test_tag_role_replaces_without_regard_to_case(world: World) -> None:
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(ALPHA), Tags=_tags(b="1", Team="x"))
    await world.call("TagRole", RoleName="r", Tags=_tags(TEAM="y", a="2"))
    listed = await world.call("ListRoleTags", RoleName="r")
    assert listed["Tags"] == _tags(TEAM="y", a="2", b="1")
    await world.call("UntagRole", RoleName="r", TagKeys=["team", "nothing"])
    assert (await world.call("ListRoleTags", RoleName="r"))["Tags"] == _tags(a="2", b="1")


async def test_tag_policy_tells_keys_apart_by_case(world: World) -> None:
    document = policy(allow("s3:*"))
    arn = (await world.call("CreatePolicy", PolicyName="p", PolicyDocument=document, Tags=_tags(Team="x")))["Policy"]
    await world.call("TagPolicy", PolicyArn=arn["Arn"], Tags=_tags(TEAM="y"))
    assert (await world.call("ListPolicyTags", PolicyArn=arn["Arn"]))["Tags"] == _tags(TEAM="y", Team="x")


async def test_create_user_with_twin_tags_refused(world: World) -> None:
    message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    with refusal(ErrorKind.INVALID_INPUT, message):
        await world.call("CreateUser", UserName="ann", Tags=_tags(Team="x", team="y"))


@pytest.mark.parametrize("key", ["aws:team", "AWS:x"])
async def test_tag_user_with_reserved_key_refused(world: World, key: str) -> None:
    await world.call("CreateUser", UserName="ann")
    with refusal(ErrorKind.INVALID_INPUT):
        await world.call("TagUser", UserName="ann", Tags=_tags(**{key: "x"}))


async def test_tag_user_fifty_first_refused_whole(world: World) -> None:
    await world.call("CreateUser", UserName="ann", Tags=_tags(**{f"k{n}": "v" for n in range(50)}))
    with refusal(ErrorKind.LIMIT_EXCEEDED, "The number of tags has reached the maximum limit."):
        await world.call("TagUser", UserName="ann", Tags=_tags(k1="new", more="x"))
    await world.call("TagUser", UserName="ann", Tags=_tags(K1="new"))
    tags = (await world.call("ListUserTags", UserName="ann"))["Tags"]
    assert len(tags) == 50
    assert {"Key": "K1", "Value": "new"} in tags


async def test_list_user_tags_pages_by_key(world: World) -> None:
    await world.call("CreateUser", UserName="ann", Tags=_tags(c="3", a="1", b="2"))
    first = await world.call("ListUserTags", UserName="ann", MaxItems=2)
    rest = await world.call("ListUserTags", UserName="ann", Marker=first["Marker"])
    assert (first["Tags"], rest["Tags"]) == (_tags(a="1", b="2"), _tags(c="3"))


async def test_remove_user_from_group_of_a_user_who_is_not_a_member_succeeds(world: World) -> None:
    """AWS answers so, as users of its API report; only a user or group that does not exist is NoSuchEntity."""
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateGroup", GroupName="g")
    assert await world.call("RemoveUserFromGroup", GroupName="g", UserName="ann") == {}


@pytest.mark.parametrize("name", ["AddUserToGroup", "RemoveUserFromGroup"])
async def test_membership_of_nobody_in_nothing_names_the_user_first(world: World, name: str) -> None:
    with refusal(ErrorKind.NOT_FOUND, "The user with name none cannot be found."):
        await world.call(name, GroupName="none", UserName="none")
    await world.call("CreateUser", UserName="ann")
    with refusal(ErrorKind.NOT_FOUND, "The group with name none cannot be found."):
        await world.call(name, GroupName="none", UserName="ann")
