"""How every operation runs: authorized first, on the real resource, and on the record whatever happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal, trusting

from daypass.domain.directory import Guardrail, User
from daypass.domain.errors import ErrorKind
from daypass.domain.events import EventType
from daypass.operations.iam.service import OPERATIONS


async def _ann(world: World, *statements: dict[str, Any]) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(*statements))


def _if(**equals: str) -> dict[str, Any]:
    return {"StringEquals": {key.replace("__", ":").replace("_S_", "/"): value for key, value in equals.items()}}


async def test_write_is_recorded_with_who_what_and_result(world: World) -> None:
    user_id = (await world.call("CreateUser", UserName="ann"))["User"]["UserId"]
    event = world.journal.events[-1]
    assert (event.type, event.operation, event.account) == (EventType.DIRECTORY_CHANGED, "iam:CreateUser", ALPHA)
    assert event.actor["arn"] == f"arn:aws:iam::{ALPHA}:root"
    assert event.detail["resource"] == f"arn:aws:iam::{ALPHA}:user/ann"
    assert event.detail["parameters"] == {"UserName": "ann"}
    assert event.detail["result"]["UserId"] == user_id
    assert event.decision is not None
    assert event.decision["allowed"] is True


async def test_read_is_recorded(world: World) -> None:
    await world.call("ListUsers")
    event = world.journal.events[-1]
    assert (event.type, event.operation) == (EventType.REQUEST_ALLOWED, "iam:ListUsers")


async def test_denied_write_changes_nothing_and_is_recorded(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    message = (
        f"User: arn:aws:iam::{ALPHA}:user/ann is not authorized to perform: iam:CreateUser on resource: "
        f"arn:aws:iam::{ALPHA}:user/bob because no identity-based policy allows the iam:CreateUser action"
    )
    with refusal(ErrorKind.ACCESS_DENIED, message):
        await world.call("CreateUser", world.as_user("ann"), UserName="bob")
    assert world.tx.count(User) == 1
    assert world.journal.events[-1].type is EventType.REQUEST_DENIED


async def test_failed_write_changes_nothing_and_is_recorded(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    rows = dict(world.rows)
    with refusal(ErrorKind.ALREADY_EXISTS):
        await world.call("CreateUser", UserName="ann")
    assert world.rows == rows
    assert world.journal.events[-1].error == "already_exists"


async def test_existing_entity_is_authorized_by_its_real_path(world: World) -> None:
    await world.call("CreateUser", UserName="bob", Path="/secret/")
    await _ann(world, allow("iam:GetUser", f"arn:aws:iam::{ALPHA}:user/bob"))
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("GetUser", world.as_user("ann"), UserName="bob")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("GetUser", world.as_user("ann"), UserName="carl")


async def test_unknown_entity_tells_only_those_who_may_ask(world: World) -> None:
    await _ann(world, allow("iam:GetRole", f"arn:aws:iam::{ALPHA}:role/known-*"))
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("GetRole", world.as_user("ann"), RoleName="known-x")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("GetRole", world.as_user("ann"), RoleName="other")


@pytest.mark.parametrize(
    ("operation", "path", "resource"),
    [("ListUsers", "/a/", "user/a/"), ("ListRoles", None, "role/"), ("ListGroups", "/b", "group/b")],
)
async def test_lists_are_authorized_by_path(world: World, operation: str, path: str | None, resource: str) -> None:
    await _ann(world, allow(f"iam:{operation}", f"arn:aws:iam::{ALPHA}:{resource}"))
    params = {"PathPrefix": path} if path else {}
    await world.call(operation, world.as_user("ann"), **params)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call(operation, world.as_user("ann"), PathPrefix="/elsewhere/")


async def test_attach_is_limited_by_policy_arn(world: World) -> None:
    only = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    await _ann(world, allow("iam:AttachUserPolicy", Condition={"ArnEquals": {"iam:PolicyARN": only}}))
    await world.call("AttachUserPolicy", world.as_user("ann"), UserName="ann", PolicyArn=only)
    with refusal(ErrorKind.ACCESS_DENIED):
        admin = "arn:aws:iam::aws:policy/AdministratorAccess"
        await world.call("AttachUserPolicy", world.as_user("ann"), UserName="ann", PolicyArn=admin)


async def test_create_role_only_with_boundary(world: World) -> None:
    boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    await _ann(world, allow(["iam:CreateRole", "iam:PutRolePolicy"], Condition=bounded))
    ann = world.as_user("ann")
    role = {"RoleName": "r", "AssumeRolePolicyDocument": trusting(ALPHA)}
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("CreateRole", ann, **role)
    await world.call("CreateRole", ann, **role, PermissionsBoundary=boundary)
    document = policy(allow("s3:*"))
    await world.call("PutRolePolicy", ann, RoleName="r", PolicyName="p", PolicyDocument=document)
    await world.call("DeleteRolePermissionsBoundary", RoleName="r")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("PutRolePolicy", ann, RoleName="r", PolicyName="p", PolicyDocument=document)


async def test_tags_of_request_and_resource_are_context(world: World) -> None:
    await _ann(
        world,
        allow("iam:CreateUser", Condition={"StringEquals": {"aws:RequestTag/team": "red"}}),
        allow("iam:DeleteUser", Condition={"StringEquals": {"aws:ResourceTag/Team": "red"}}),
        allow("iam:TagUser", Condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["note"]}}),
        allow("iam:TagUser", f"arn:aws:iam::{ALPHA}:user/bob"),
        allow("iam:UntagUser", Condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["note"]}}),
    )
    ann = world.as_user("ann")
    red, blue = [{"Key": "Team", "Value": "red"}], [{"Key": "Team", "Value": "blue"}]
    await world.call("CreateUser", ann, UserName="bob", Tags=red)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("CreateUser", ann, UserName="carl", Tags=blue)
    await world.call("CreateUser", UserName="carl", Tags=blue)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("DeleteUser", ann, UserName="carl")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("TagUser", ann, UserName="carl", Tags=red)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("UntagUser", ann, UserName="carl", TagKeys=["Team"])
    await world.call("TagUser", ann, UserName="carl", Tags=[{"Key": "note", "Value": "x"}])
    await world.call("DeleteUser", ann, UserName="bob")


@pytest.mark.parametrize(
    ("operation", "params", "shown"),
    [
        ("GetUser", {"UserName": "nobody"}, "user nobody"),
        ("GetUser", {}, "user ann"),
        ("DeleteGroup", {"GroupName": "ops"}, "group ops"),
        ("PutRolePolicy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": policy(allow("*"))}, "role r"),
        ("GetPolicy", {"PolicyArn": f"arn:aws:iam::{ALPHA}:policy/p"}, f"policy arn:aws:iam::{ALPHA}:policy/p"),
        ("CreatePolicy", {"PolicyName": "p", "Path": "/a/", "PolicyDocument": policy(allow("*"))}, "policy p"),
        ("GetInstanceProfile", {"InstanceProfileName": "web"}, "instance profile web"),
        ("ListUserTags", {"UserName": "bob"}, "user bob"),
        ("TagUser", {"UserName": "bob", "Tags": []}, f"arn:aws:iam::{ALPHA}:user/bob"),
        ("DeleteRolePermissionsBoundary", {"RoleName": "r"}, f"arn:aws:iam::{ALPHA}:role/r"),
        ("ListUsers", {"PathPrefix": "/x/"}, f"arn:aws:iam::{ALPHA}:user/x/"),
    ],
)
async def test_denial_names_the_resource_as_aws_does(
    world: World, operation: str, params: dict[str, Any], shown: str
) -> None:
    await world.call("CreateUser", UserName="ann")
    message = (
        f"User: arn:aws:iam::{ALPHA}:user/ann is not authorized to perform: iam:{operation} on resource: {shown} because "
        f"no identity-based policy allows the iam:{operation} action"
    )
    with refusal(ErrorKind.ACCESS_DENIED, message):
        await world.call(operation, world.as_user("ann"), **params)
    assert world.journal.events[-1].decision is not None


async def test_create_with_tags_takes_the_action_that_tags(world: World) -> None:
    """Or else whoever may create could give what it makes the tags that policies trust."""
    await _ann(world, allow("iam:CreateUser"), allow("iam:CreateVirtualMFADevice"))
    ann, tags = world.as_user("ann"), [{"Key": "team", "Value": "red"}]
    await world.call("CreateUser", ann, UserName="bob")
    for operation, params, action, arn in (
        ("CreateUser", {"UserName": "carl"}, "TagUser", f"arn:aws:iam::{ALPHA}:user/carl"),
        ("CreateVirtualMFADevice", {"VirtualMFADeviceName": "d"}, "TagMFADevice", f"arn:aws:iam::{ALPHA}:mfa/d"),
    ):
        message = (
            f"User: arn:aws:iam::{ALPHA}:user/ann is not authorized to perform: iam:{action} on resource: {arn} because "
            f"no identity-based policy allows the iam:{action} action"
        )
        with refusal(ErrorKind.ACCESS_DENIED, message):
            await world.call(operation, ann, Tags=tags, **params)


async def test_guardrail_binds_root(world: World) -> None:
    text = policy({"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"}, allow("*"))
    world.tx.insert(Guardrail(ALPHA, "no-users", text, NOW))
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("CreateUser", UserName="ann")
    await world.call("CreateUser", world.root(BETA), UserName="ann")


async def test_entity_tagged_between_decision_and_write_is_decided_again(world: World) -> None:
    """The race: ann may delete untagged users; bob is tagged after the decision and before the deletion."""
    await _ann(world, allow("iam:DeleteUser", Condition={"Null": {"aws:ResourceTag/keep": "true"}}))
    await world.call("CreateUser", UserName="bob")
    original, raced = world.journal.write, []

    async def racing(change: Any, **_: Any) -> Any:
        if not raced:
            raced.append(True)
            await world.call("TagUser", UserName="bob", Tags=[{"Key": "keep", "Value": "1"}])
        return await original(change)

    world.journal.write = racing  # type: ignore[method-assign]
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("DeleteUser", world.as_user("ann"), UserName="bob")
    assert world.tx.get(User, account=ALPHA, name="bob") is not None


async def test_entity_that_never_stands_still_ends_in_concurrent_modification(world: World) -> None:
    await world.call("CreateUser", UserName="bob")
    original = world.journal.write
    count = iter(range(1000))

    async def racing(change: Any, **_: Any) -> Any:
        bob = world.tx.get(User, account=ALPHA, name="bob")
        assert bob is not None
        world.tx.replace(User(bob.id, ALPHA, "bob", f"/{next(count)}/", NOW))
        return await original(change)

    world.journal.write = racing  # type: ignore[method-assign]
    with refusal(ErrorKind.CONCURRENT_MODIFICATION):
        await world.call("DeleteUser", UserName="bob")


async def test_entity_that_ten_others_change_meanwhile_is_changed_too(world: World) -> None:
    await world.call("CreateUser", UserName="bob")
    original, others = world.journal.write, list(range(10))

    async def racing(change: Any, **_: Any) -> Any:
        if others:
            bob = world.tx.get(User, account=ALPHA, name="bob")
            assert bob is not None
            world.tx.replace(replace(bob, tags=(*bob.tags, (f"k{others.pop()}", "v"))))
        return await original(change)

    world.journal.write = racing  # type: ignore[method-assign]
    await world.call("TagUser", UserName="bob", Tags=[{"Key": "last", "Value": "v"}])
    assert len((await world.call("ListUserTags", UserName="bob"))["Tags"]) == 11


def test_table_has_each_operation_either_reading_or_writing() -> None:
    assert all((row.read is None) != (row.write is None) for row in OPERATIONS.values())
    reading = ("Get", "List", "Simulate")
    assert all((row.read is not None) == name.startswith(reading) for name, row in OPERATIONS.items())
