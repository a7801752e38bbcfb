"""Policies of IAM: managed, inline, of owners, with paths."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from tests.unit.iam.memory import ALPHA, BETA, World, allow, policy, refusal, trusting

from daypass.data import BuiltinPolicies
from daypass.domain.errors import ErrorKind

DOCUMENT = policy(allow("s3:GetObject"))
ARN = f"arn:aws:iam::{ALPHA}:policy/p"
BUILTIN = "arn:aws:iam::aws:policy/ReadOnlyAccess"


async def _policy(world: World, name: str = "p", **more: object) -> str:
    answer = await world.call("CreatePolicy", PolicyName=name, PolicyDocument=DOCUMENT, **more)
    return str(answer["Policy"]["Arn"])


async def _role(world: World, name: str = "r") -> None:
    await world.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trusting(ALPHA))


async def test_create_policy_answers_first_version_as_default(world: World) -> None:
    answer = await world.call(
        "CreatePolicy", PolicyName="p", Path="/a/", PolicyDocument=DOCUMENT, Description="d", Tags=[]
    )
    shown = answer["Policy"]
    assert shown["PolicyId"].startswith("ANPA")
    assert {k: shown[k] for k in ("Arn", "DefaultVersionId", "AttachmentCount", "IsAttachable")} == {
        "Arn": f"arn:aws:iam::{ALPHA}:policy/a/p",
        "DefaultVersionId": "v1",
        "AttachmentCount": 0,
        "IsAttachable": True,
    }
    assert not {"Description", "Tags"} & set(shown)
    whole = (await world.call("GetPolicy", PolicyArn=shown["Arn"]))["Policy"]
    assert whole == {**shown, "Description": "d", "Tags": []}
    version = (await world.call("GetPolicyVersion", PolicyArn=shown["Arn"], VersionId="v1"))["PolicyVersion"]
    assert unquote(version["Document"]) == DOCUMENT
    assert version["IsDefaultVersion"] is True


async def test_create_policy_same_name_other_path_refused(world: World) -> None:
    await _policy(world)
    message = "A policy called P already exists. Duplicate names are not allowed."
    with refusal(ErrorKind.ALREADY_EXISTS, message):
        await _policy(world, "P", Path="/other/")


async def test_create_policy_over_size_refused(world: World) -> None:
    room = 6144 - len("".join(policy(allow("s3:GetObject", "arn:aws:s3:::")).split()))
    fits = policy(allow("s3:GetObject", "arn:aws:s3:::" + "b" * room))
    await world.call("CreatePolicy", PolicyName="fits", PolicyDocument=json.dumps(json.loads(fits), indent=4))
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for PolicySize: 6144"):
        over = policy(allow("s3:GetObject", "arn:aws:s3:::" + "b" * (room + 1)))
        await world.call("CreatePolicy", PolicyName="over", PolicyDocument=over)


async def test_create_policy_with_principal_refused(world: World) -> None:
    with refusal(ErrorKind.MALFORMED_POLICY):
        await world.call("CreatePolicy", PolicyName="p", PolicyDocument=trusting(ALPHA))


async def test_create_policy_version_sixth_refused_and_numbers_never_reused(world: World) -> None:
    await _policy(world)
    for _ in range(4):
        await world.call("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=DOCUMENT)
    message = (
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing "
        "version."
    )
    with refusal(ErrorKind.LIMIT_EXCEEDED, message):
        await world.call("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=DOCUMENT)
    await world.call("DeletePolicyVersion", PolicyArn=ARN, VersionId="v5")
    answer = await world.call("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=DOCUMENT, SetAsDefault=True)
    assert (answer["PolicyVersion"]["VersionId"], answer["PolicyVersion"]["IsDefaultVersion"]) == ("v6", True)
    assert "Document" not in answer["PolicyVersion"]
    versions = (await world.call("ListPolicyVersions", PolicyArn=ARN))["Versions"]
    assert [version["VersionId"] for version in versions] == ["v6", "v4", "v3", "v2", "v1"]


async def test_delete_policy_version_default_refused(world: World) -> None:
    await _policy(world)
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete the default version of a policy."):
        await world.call("DeletePolicyVersion", PolicyArn=ARN, VersionId="v1")


@pytest.mark.parametrize("version", ["v2", "v0", "v1.a", "v99999999999999999999", "v１"])
async def test_get_policy_version_unknown_refused(world: World, version: str) -> None:
    await _policy(world)
    message = f"Policy {ARN} version {version} does not exist or is not attachable."
    with refusal(ErrorKind.NOT_FOUND, message):
        await world.call("GetPolicyVersion", PolicyArn=ARN, VersionId=version)


async def test_set_default_policy_version_takes_effect_at_once(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    arn = await _policy(world)
    await world.call("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    allowing = policy(allow("iam:ListUsers"))
    await world.call("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allowing)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("ListUsers", world.as_user("ann"))
    await world.call("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v2")
    assert (await world.call("ListUsers", world.as_user("ann")))["Users"]


async def test_delete_policy_conflicts_name_what_stands_in_the_way(world: World) -> None:
    await _policy(world)
    await _role(world)
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=ARN)
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete a policy attached to entities."):
        await world.call("DeletePolicy", PolicyArn=ARN)
    await world.call("DetachRolePolicy", RoleName="r", PolicyArn=ARN)
    await world.call("PutRolePermissionsBoundary", RoleName="r", PermissionsBoundary=ARN)
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete a policy attached to entities."):
        await world.call("DeletePolicy", PolicyArn=ARN)
    await world.call("DeleteRolePermissionsBoundary", RoleName="r")
    await world.call("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=DOCUMENT)
    with refusal(ErrorKind.DELETE_CONFLICT):
        await world.call("DeletePolicy", PolicyArn=ARN)
    await world.call("DeletePolicyVersion", PolicyArn=ARN, VersionId="v2")
    await world.call("DeletePolicy", PolicyArn=ARN)
    with refusal(ErrorKind.NOT_FOUND, f"Policy {ARN} was not found."):
        await world.call("GetPolicy", PolicyArn=ARN)


@pytest.mark.parametrize("operation", ["CreatePolicyVersion", "DeletePolicy", "SetDefaultPolicyVersion"])
@pytest.mark.parametrize("arn", [f"arn:aws:iam::{BETA}:policy/p", f"arn:aws:iam::{BETA}:policy/none"])
async def test_change_policy_of_another_account_denied_there_or_not(world: World, operation: str, arn: str) -> None:
    await world.call("CreatePolicy", world.root(BETA), PolicyName="p", PolicyDocument=DOCUMENT)
    message = (
        f"User: arn:aws:iam::{ALPHA}:root is not authorized to perform: iam:{operation} on resource: policy {arn} because "
        f"no resource-based policy allows the iam:{operation} action"
    )
    with refusal(ErrorKind.ACCESS_DENIED, message):
        await world.call(operation, PolicyArn=arn, PolicyDocument=DOCUMENT, VersionId="v1")


@pytest.mark.parametrize(
    ("operation", "intent"),
    [
        ("CreatePolicyVersion", "update policies"),
        ("DeletePolicy", "delete policies"),
        ("DeletePolicyVersion", "delete policy versions for policies"),
        ("SetDefaultPolicyVersion", "update policies"),
    ],
)
async def test_change_policy_builtin_denied_even_to_root(world: World, operation: str, intent: str) -> None:
    with refusal(ErrorKind.ACCESS_DENIED, f"Cannot {intent} outside your own account."):
        await world.call(operation, PolicyArn=BUILTIN, PolicyDocument=DOCUMENT, VersionId="v1")


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        (ErrorKind.INVALID_INPUT, f"arn:aws:iam::{ALPHA}:role/ppppp"),
        (ErrorKind.INVALID_INPUT, "arn:aws:s3:::policy/xx"),
    ],
)
async def test_get_policy_with_arn_of_something_else_refused(world: World, kind: ErrorKind, arn: str) -> None:
    with refusal(kind, f"ARN {arn} is not valid."):
        await world.call("GetPolicy", PolicyArn=arn)


@pytest.mark.parametrize("arn", ["arn:aws:iam::aws", "longpolicynamebutnoarn"])
@pytest.mark.parametrize(
    "operation",
    [
        *("AttachRolePolicy", "DetachRolePolicy", "AttachUserPolicy", "DetachGroupPolicy"),
        *("GetPolicy", "GetPolicyVersion", "ListPolicyVersions", "DeletePolicy", "TagPolicy", "ListEntitiesForPolicy"),
    ],
)
async def test_operation_with_policy_arn_that_is_not_an_arn_refused(world: World, operation: str, arn: str) -> None:
    """Recorded from AWS on 2025-03-06 for AttachRolePolicy and AttachUserPolicy, with the two spaces.

    On 2026-02-19 AWS answered AttachRolePolicy with `ARN … is not valid.` instead; the code was the same.
    """
    await _role(world)
    await world.call("CreateUser", UserName="u")
    await world.call("CreateGroup", GroupName="g")
    with refusal(ErrorKind.VALIDATION, "Invalid ARN:  Could not be parsed!"):
        await world.call(operation, PolicyArn=arn, RoleName="r", UserName="u", GroupName="g", VersionId="v1", Tags=[])


async def test_tags_of_builtin_policy_cannot_be_changed_or_listed(world: World) -> None:
    """The InvalidInput of ListPolicyTags was recorded from AWS in February 2026."""
    with refusal(ErrorKind.ACCESS_DENIED, "Cannot tag policies outside your own account."):
        await world.call("TagPolicy", PolicyArn=BUILTIN, Tags=[{"Key": "team", "Value": "x"}])
    with refusal(ErrorKind.ACCESS_DENIED, "Cannot untag policies outside your own account."):
        await world.call("UntagPolicy", PolicyArn=BUILTIN, TagKeys=["team"])
    with refusal(ErrorKind.INVALID_INPUT, "Tags not supported for policies in this domain"):
        await world.call("ListPolicyTags", PolicyArn=BUILTIN)


async def test_get_policy_of_other_account_denied_there_or_not(world: World) -> None:
    answer = await world.call("CreatePolicy", world.root(BETA), PolicyName="p", PolicyDocument=DOCUMENT)
    for arn in (answer["Policy"]["Arn"], f"arn:aws:iam::{BETA}:policy/none"):
        with refusal(
            ErrorKind.ACCESS_DENIED,
            f"User: arn:aws:iam::{ALPHA}:root is not authorized to perform: iam:GetPolicy on resource: policy {arn} because "
            "no resource-based policy allows the iam:GetPolicy action",
        ):
            await world.call("GetPolicy", PolicyArn=arn)


async def test_attach_policy_of_other_account_is_as_unknown(world: World) -> None:
    answer = await world.call("CreatePolicy", world.root(BETA), PolicyName="p", PolicyDocument=DOCUMENT)
    await _role(world)
    for arn in (answer["Policy"]["Arn"], f"arn:aws:iam::{BETA}:policy/none"):
        with refusal(ErrorKind.NOT_FOUND, f"Policy {arn} does not exist or is not attachable."):
            await world.call("AttachRolePolicy", RoleName="r", PolicyArn=arn)


async def test_get_policy_builtin_needs_permission(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("GetPolicy", world.as_user("ann"), PolicyArn=BUILTIN)
    document = policy(allow("iam:GetPolicy", "arn:aws:iam::aws:policy/*"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    await world.call("GetPolicy", world.as_user("ann"), PolicyArn=BUILTIN)


async def test_get_policy_builtin_answers(world: World) -> None:
    shown = (await world.call("GetPolicy", PolicyArn=BUILTIN))["Policy"]
    assert (shown["PolicyName"], shown["DefaultVersionId"]) == (
        "ReadOnlyAccess",
        f"v{BuiltinPolicies().dates(BUILTIN).version}",
    )
    version = (await world.call("GetPolicyVersion", PolicyArn=BUILTIN, VersionId=shown["DefaultVersionId"]))[
        "PolicyVersion"
    ]
    assert json.loads(unquote(version["Document"]))["Version"] == "2012-10-17"


async def test_list_policies_scopes_and_pages(world: World) -> None:
    for name in ("b", "a"):
        await _policy(world, name)
    local = (await world.call("ListPolicies", Scope="Local"))["Policies"]
    assert [shown["PolicyName"] for shown in local] == ["a", "b"]
    builtin = sorted({arn.rpartition("/")[2] for arn in BuiltinPolicies()}, key=str.lower)
    names: list[str] = []
    params: dict[str, object] = {}
    while True:
        answer = await world.call("ListPolicies", MaxItems=1 if len(names) < 4 else 700, **params)
        names += [shown["PolicyName"] for shown in answer["Policies"]]
        if not answer["IsTruncated"]:
            break
        params = {"Marker": answer["Marker"]}
    assert names == ["a", "b", *builtin]


async def test_list_policies_only_attached_and_usage(world: World) -> None:
    await _policy(world, "attached")
    await _policy(world, "bounding")
    await _policy(world, "idle")
    await _role(world)
    arn = f"arn:aws:iam::{ALPHA}:policy/"
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=f"{arn}attached")
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=BUILTIN)
    await world.call("PutRolePermissionsBoundary", RoleName="r", PermissionsBoundary=f"{arn}bounding")

    async def names(**params: object) -> list[str]:
        return [shown["PolicyName"] for shown in (await world.call("ListPolicies", **params))["Policies"]]

    assert await names(OnlyAttached=True) == ["attached", "bounding", "ReadOnlyAccess"]
    assert await names(OnlyAttached=True, Scope="Local", MaxItems=2) == ["attached", "bounding"]
    assert await names(PolicyUsageFilter="PermissionsBoundary") == ["bounding"]
    assert await names(PolicyUsageFilter="PermissionsPolicy", OnlyAttached=True) == ["attached", "ReadOnlyAccess"]
    counted = {p["PolicyName"]: p for p in (await world.call("ListPolicies", Scope="Local"))["Policies"]}
    assert counted["attached"]["AttachmentCount"] == 1
    assert counted["bounding"]["PermissionsBoundaryUsageCount"] == 1


async def test_list_entities_for_policy_unknown_is_not_attachable(world: World) -> None:
    with refusal(ErrorKind.NOT_FOUND, f"Policy {ARN} does not exist or is not attachable."):
        await world.call("ListEntitiesForPolicy", PolicyArn=ARN)


async def test_list_policy_tags_shorter_keys_come_first(world: World) -> None:
    tags = [{"Key": key, "Value": "x"} for key in ("abc", "b", "z", "a")]
    made = await world.call("CreatePolicy", PolicyName="tagged", PolicyDocument=DOCUMENT, Tags=tags)
    assert [tag["Key"] for tag in made["Policy"]["Tags"]] == ["abc", "b", "z", "a"]
    arn = made["Policy"]["Arn"]
    page = await world.call("ListPolicyTags", PolicyArn=arn, MaxItems=3)
    rest = await world.call("ListPolicyTags", PolicyArn=arn, Marker=page["Marker"])
    assert [tag["Key"] for tag in page["Tags"] + rest["Tags"]] == ["a", "b", "z", "abc"]


async def test_list_entities_for_policy_by_kind_usage_and_page(world: World) -> None:
    arn = await _policy(world)
    await _role(world)
    await world.call("CreateUser", UserName="ann", Path="/x/")
    await world.call("CreateGroup", GroupName="g")
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=arn)
    await world.call("AttachGroupPolicy", GroupName="g", PolicyArn=arn)
    await world.call("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=arn)

    async def found(**params: object) -> tuple[list[str], ...]:
        answer = await world.call("ListEntitiesForPolicy", PolicyArn=arn, **params)
        return tuple([e[f"{n}Name"] for e in answer[f"Policy{n}s"]] for n in ("Group", "User", "Role"))

    assert await found() == (["g"], ["ann"], ["r"])
    assert await found(EntityFilter="Role") == ([], [], ["r"])
    assert await found(PolicyUsageFilter="PermissionsPolicy") == (["g"], [], ["r"])
    assert await found(PolicyUsageFilter="PermissionsBoundary") == ([], ["ann"], [])
    assert await found(PathPrefix="/x/") == ([], ["ann"], [])
    first = await world.call("ListEntitiesForPolicy", PolicyArn=arn, MaxItems=2)
    rest = await world.call("ListEntitiesForPolicy", PolicyArn=arn, Marker=first["Marker"])
    assert (len(first["PolicyGroups"] + first["PolicyUsers"]), len(rest["PolicyRoles"])) == (2, 1)


# --- Attachments, inline policies, boundaries ----------------------------------------------------------------------


async def test_attach_role_policy_twice_is_once(world: World) -> None:
    await _role(world)
    for _ in range(2):
        await world.call("AttachRolePolicy", RoleName="r", PolicyArn=BUILTIN)
    listed = await world.call("ListAttachedRolePolicies", RoleName="r")
    assert listed["AttachedPolicies"] == [{"PolicyName": "ReadOnlyAccess", "PolicyArn": BUILTIN}]


@pytest.mark.parametrize("noun", ["User", "Group", "Role"])
async def test_attach_policy_eleventh_refused(world: World, noun: str) -> None:
    await _role(world, "x")
    await world.call("CreateUser", UserName="x")
    await world.call("CreateGroup", GroupName="x")
    for number in range(11):
        await _policy(world, f"p{number}")
    owner = {f"{noun}Name": "x"}
    for number in range(10):
        await world.call(f"Attach{noun}Policy", **owner, PolicyArn=f"arn:aws:iam::{ALPHA}:policy/p{number}")
    with refusal(ErrorKind.LIMIT_EXCEEDED, f"Cannot exceed quota for PoliciesPer{noun}: 10"):
        await world.call(f"Attach{noun}Policy", **owner, PolicyArn=f"arn:aws:iam::{ALPHA}:policy/p10")


async def test_attach_policy_unknown_refused(world: World) -> None:
    await _role(world)
    arn = "arn:aws:iam::aws:policy/NoSuchAccess"
    with refusal(ErrorKind.NOT_FOUND, f"Policy {arn} does not exist or is not attachable."):
        await world.call("AttachRolePolicy", RoleName="r", PolicyArn=arn)


async def test_detach_policy_not_attached_refused(world: World) -> None:
    await _role(world)
    with refusal(ErrorKind.NOT_FOUND, f"Policy {BUILTIN} was not found."):
        await world.call("DetachRolePolicy", RoleName="r", PolicyArn=BUILTIN)


async def test_list_attached_policies_pages_by_name_whatever_the_path(world: World) -> None:
    await _role(world)
    long_path = "/" + "x" * 500 + "/"
    for name, path in (("c", "/"), ("b", long_path), ("a", "/z/")):
        await world.call("AttachRolePolicy", RoleName="r", PolicyArn=await _policy(world, name, Path=path))
    first = await world.call("ListAttachedRolePolicies", RoleName="r", MaxItems=2)
    assert [shown["PolicyName"] for shown in first["AttachedPolicies"]] == ["a", "b"]
    assert len(first["Marker"]) <= 320
    rest = await world.call("ListAttachedRolePolicies", RoleName="r", Marker=first["Marker"])
    assert [shown["PolicyName"] for shown in rest["AttachedPolicies"]] == ["c"]
    only = await world.call("ListAttachedRolePolicies", RoleName="r", PathPrefix="/z/")
    assert [shown["PolicyName"] for shown in only["AttachedPolicies"]] == ["a"]


async def test_inline_policy_put_get_list_delete(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    for name in ("q", "p"):
        await world.call("PutUserPolicy", UserName="ann", PolicyName=name, PolicyDocument=DOCUMENT)
    replaced = policy(allow("s3:PutObject"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=replaced)
    assert (await world.call("ListUserPolicies", UserName="ann"))["PolicyNames"] == ["p", "q"]
    got = await world.call("GetUserPolicy", UserName="Ann", PolicyName="p")
    assert (got["UserName"], got["PolicyName"], unquote(got["PolicyDocument"])) == ("ann", "p", replaced)
    await world.call("DeleteUserPolicy", UserName="ann", PolicyName="p")
    with refusal(ErrorKind.NOT_FOUND, "The user policy with name p cannot be found."):
        await world.call("GetUserPolicy", UserName="ann", PolicyName="p")


@pytest.mark.parametrize(("noun", "limit"), [("User", 2048), ("Group", 5120), ("Role", 10240)])
async def test_inline_policies_together_have_one_quota(world: World, noun: str, limit: int) -> None:
    await _role(world, "x")
    await world.call("CreateUser", UserName="x")
    await world.call("CreateGroup", GroupName="x")
    empty = policy(allow("s3:GetObject", "arn:aws:s3:::"))
    size = len("".join(empty.split()))
    owner = {f"{noun}Name": "x"}

    async def put(name: str, characters: int) -> None:
        document = policy(allow("s3:GetObject", "arn:aws:s3:::" + "b" * (characters - size)))
        await world.call(f"Put{noun}Policy", **owner, PolicyName=name, PolicyDocument=document)

    await put("a", limit - 500)
    with refusal(ErrorKind.LIMIT_EXCEEDED, f"Maximum policy size of {limit} bytes exceeded for {noun.lower()} x"):
        await put("b", 501)
    await put("b", 500)
    await put("a", limit - 500)


async def test_permissions_boundary_only_narrows(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    await world.call("AttachUserPolicy", UserName="ann", PolicyArn=admin)
    arn = await world.call("CreatePolicy", PolicyName="b", PolicyDocument=policy(allow("iam:List*")))
    await world.call("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=arn["Policy"]["Arn"])
    await world.call("ListUsers", world.as_user("ann"))
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("DeleteUserPermissionsBoundary", world.as_user("ann"), UserName="ann")
    await world.call("DeleteUserPermissionsBoundary", UserName="ann")
    assert "PermissionsBoundary" not in (await world.call("GetUser", UserName="ann"))["User"]
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("DeleteUserPermissionsBoundary", UserName="ann")


async def test_create_user_with_unknown_boundary_refused(world: World) -> None:
    arn = f"arn:aws:iam::{ALPHA}:policy/none"
    with refusal(ErrorKind.NOT_FOUND, f"Scope ARN: {arn} does not exist or is not attachable."):
        await world.call("CreateUser", UserName="ann", PermissionsBoundary=arn)


# --- Inline and attached policies: the same life for users, groups and roles


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


# --- Paths that belong to AWS are refused for everything that has one


TRUST_OF_ACCOUNT = policy({"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"})
MAKING: list[tuple[str, dict[str, Any]]] = [
    ("CreateUser", {"UserName": "x"}),
    ("CreateGroup", {"GroupName": "x"}),
    ("CreateRole", {"RoleName": "x", "AssumeRolePolicyDocument": TRUST_OF_ACCOUNT}),
    ("CreatePolicy", {"PolicyName": "x", "PolicyDocument": policy(allow("orders:Read", "*"))}),
    ("CreateInstanceProfile", {"InstanceProfileName": "x"}),
    ("CreateVirtualMFADevice", {"VirtualMFADeviceName": "x"}),
]


@pytest.mark.parametrize(("operation", "params"), MAKING)
@pytest.mark.parametrize(
    "path", ["/aws-service-role/", "/aws-service-role/x.example.com/", "/aws-reserved/sso/", "/AWS-Reserved/"]
)
async def test_create_with_a_path_of_awss_is_refused(
    world: World, operation: str, params: dict[str, Any], path: str
) -> None:
    with refusal(ErrorKind.INVALID_INPUT):
        await world.call(operation, Path=path, **params)
    await world.call(operation, Path="/service-role/aws-reserved/", **params)


async def test_update_to_a_path_of_awss_is_refused(world: World) -> None:
    await world.call("CreateUser", UserName="x")
    await world.call("CreateGroup", GroupName="x")
    for operation, name in (("UpdateUser", "UserName"), ("UpdateGroup", "GroupName")):
        with refusal(
            ErrorKind.INVALID_INPUT, "Path prefix '/aws-reserved/' can only be used for AWS reserved entities"
        ):
            await world.call(operation, NewPath="/aws-reserved/", **{name: "x"})
        await world.call(operation, NewPath="/aws/", **{name: "x"})
