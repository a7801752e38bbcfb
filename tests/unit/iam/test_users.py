"""Users, their access keys, and the current-user defaults."""

from __future__ import annotations

import botocore.session
import pytest
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal

from daypass.domain.directory import AccessKey, User
from daypass.domain.errors import ErrorKind


async def test_create_user_plain_answers_identity(world: World) -> None:
    answer = await world.call("CreateUser", UserName="ann", Path="/staff/")
    user = answer["User"]
    assert user == {
        "Path": "/staff/",
        "UserName": "ann",
        "UserId": user["UserId"],
        "Arn": f"arn:aws:iam::{ALPHA}:user/staff/ann",
        "CreateDate": NOW,
    }
    assert user["UserId"].startswith("AIDA")
    assert len(user["UserId"]) == 21


async def test_create_user_same_name_other_case_refused(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    with refusal(ErrorKind.ALREADY_EXISTS, "User with name ANN already exists."):
        await world.call("CreateUser", UserName="ANN")


async def test_create_user_same_name_other_account_accepted(world: World) -> None:
    first = await world.call("CreateUser", UserName="ann")
    second = await world.call("CreateUser", world.root(BETA), UserName="ann")
    assert first["User"]["UserId"] != second["User"]["UserId"]
    assert second["User"]["Arn"] == f"arn:aws:iam::{BETA}:user/ann"


async def test_create_user_recreated_has_another_id(world: World) -> None:
    first = await world.call("CreateUser", UserName="ann")
    await world.call("DeleteUser", UserName="ann")
    second = await world.call("CreateUser", UserName="ann")
    assert first["User"]["UserId"] != second["User"]["UserId"]


async def test_get_user_unknown_refused(world: World) -> None:
    with refusal(ErrorKind.NOT_FOUND, "The user with name bob cannot be found."):
        await world.call("GetUser", UserName="bob")


async def test_get_user_without_name_answers_caller(world: World) -> None:
    await world.call("CreateUser", UserName="ann", Tags=[{"Key": "team", "Value": "red"}])
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(allow("iam:GetUser")))
    answer = await world.call("GetUser", world.as_user("ann"))
    assert answer["User"]["UserName"] == "ann"
    assert answer["User"]["Tags"] == [{"Key": "team", "Value": "red"}]


async def test_get_user_without_name_by_root_answers_account(world: World) -> None:
    answer = await world.call("GetUser")
    assert answer["User"] == {
        "Path": "/",
        "UserName": "root",
        "UserId": ALPHA,
        "Arn": f"arn:aws:iam::{ALPHA}:root",
        "CreateDate": NOW,
    }


async def test_answers_about_the_root_have_the_members_that_the_model_requires(world: World) -> None:
    """Typed SDKs refuse an answer that lacks a required member."""
    for operation, member in (("GetUser", "User"), ("CreateAccessKey", "AccessKey")):
        answer = await world.call(operation)
        shape = botocore.session.get_session().get_service_model("iam").shape_for(member)
        assert set(shape.required_members) <= set(answer[member])


async def test_get_user_without_name_by_role_session_refused(world: World) -> None:
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=policy_for_root())
    with refusal(ErrorKind.VALIDATION, "Must specify userName when calling with non-User credentials"):
        await world.call("GetUser", world.as_role("r"))


def policy_for_root() -> str:
    return policy({"Effect": "Allow", "Principal": {"AWS": ALPHA}, "Action": "sts:AssumeRole"})


async def test_get_user_of_other_account_is_as_unknown(world: World) -> None:
    await world.call("CreateUser", world.root(BETA), UserName="ann")
    with refusal(ErrorKind.NOT_FOUND, "The user with name ann cannot be found."):
        await world.call("GetUser", UserName="ann")


async def test_list_users_pages_in_name_order_without_tags(world: World) -> None:
    for name in ("carl", "Bob", "ann", "dora"):
        await world.call("CreateUser", UserName=name, Tags=[{"Key": "k", "Value": "v"}])
    first = await world.call("ListUsers", MaxItems=3)
    assert [user["UserName"] for user in first["Users"]] == ["ann", "Bob", "carl"]
    assert first["IsTruncated"] is True
    assert all("Tags" not in user for user in first["Users"])
    rest = await world.call("ListUsers", MaxItems=3, Marker=first["Marker"])
    assert [user["UserName"] for user in rest["Users"]] == ["dora"]
    assert rest["IsTruncated"] is False
    assert "Marker" not in rest


async def test_list_users_insert_and_delete_between_pages_loses_nothing(world: World) -> None:
    for name in ("b", "d", "f", "h"):
        await world.call("CreateUser", UserName=name)
    first = await world.call("ListUsers", MaxItems=2)
    await world.call("CreateUser", UserName="a")
    await world.call("DeleteUser", UserName="d")
    await world.call("CreateUser", UserName="e")
    rest = await world.call("ListUsers", Marker=first["Marker"])
    assert [user["UserName"] for user in rest["Users"]] == ["e", "f", "h"]


@pytest.mark.parametrize("marker", ["x", "!!!!", "AAAA", "Z3JvdXBzCmE=", "é", "dXNlcnMKAA=="])
async def test_list_users_foreign_marker_refused(world: World, marker: str) -> None:
    with refusal(ErrorKind.VALIDATION, "Invalid Marker."):
        await world.call("ListUsers", Marker=marker)


async def test_list_users_path_prefix_selects(world: World) -> None:
    await world.call("CreateUser", UserName="a", Path="/x/")
    await world.call("CreateUser", UserName="b", Path="/xy/")
    await world.call("CreateUser", UserName="c", Path="/x/y/")
    answer = await world.call("ListUsers", PathPrefix="/x/")
    assert [user["UserName"] for user in answer["Users"]] == ["a", "c"]


async def test_update_user_renames_and_keeps_id(world: World) -> None:
    user_id = (await world.call("CreateUser", UserName="ann"))["User"]["UserId"]
    await world.call("UpdateUser", UserName="ann", NewUserName="Anna", NewPath="/p/")
    answer = await world.call("GetUser", UserName="anna")
    assert (answer["User"]["UserId"], answer["User"]["Arn"]) == (user_id, f"arn:aws:iam::{ALPHA}:user/p/Anna")


async def test_update_user_to_taken_name_refused(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateUser", UserName="bob")
    with refusal(ErrorKind.ALREADY_EXISTS, "User with name BOB already exists."):
        await world.call("UpdateUser", UserName="ann", NewUserName="BOB")


async def test_update_user_needs_permission_on_the_new_name_too(world: World) -> None:
    for name in ("ann", "bob"):
        await world.call("CreateUser", UserName=name)
    only_bob = policy(allow("iam:UpdateUser", f"arn:aws:iam::{ALPHA}:user/bob"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=only_bob)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("UpdateUser", world.as_user("ann"), UserName="bob", NewUserName="carl")
    with refusal(ErrorKind.ALREADY_EXISTS):
        await world.call("UpdateUser", UserName="bob", NewUserName="ann")


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("ListSSHPublicKeys", "SSHPublicKeys"),
        ("ListSigningCertificates", "Certificates"),
        ("ListServiceSpecificCredentials", "ServiceSpecificCredentials"),
    ],
)
async def test_list_credentials_that_nobody_has_is_empty_for_users_alone(
    world: World, operation: str, members: str
) -> None:
    await world.call("CreateUser", UserName="ann")
    assert await world.call(operation, UserName="ann") == {members: [], "IsTruncated": False}
    with refusal(ErrorKind.NOT_FOUND, "The user with name bob cannot be found."):
        await world.call(operation, UserName="bob")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call(operation, world.as_user("ann"))
    with refusal(ErrorKind.VALIDATION, "Invalid Marker."):
        await world.call(operation, UserName="ann", Marker="x")


async def test_list_service_specific_credentials_of_all_users_takes_permission_on_all(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    own = policy(allow("iam:ListServiceSpecificCredentials", f"arn:aws:iam::{ALPHA}:user/ann"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=own)
    ann = world.as_user("ann")
    assert (await world.call("ListServiceSpecificCredentials", ann))["ServiceSpecificCredentials"] == []
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("ListServiceSpecificCredentials", ann, AllUsers=True)
    assert await world.call("ListServiceSpecificCredentials", ann, ServiceName="codecommit.amazonaws.com")
    with refusal(ErrorKind.NOT_FOUND, "No such service x.example is supported for Service Specific Credentials"):
        await world.call("ListServiceSpecificCredentials", ann, ServiceName="x.example")


async def test_delete_user_with_belongings_refused_until_they_are_gone(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateGroup", GroupName="g")
    await world.call("AddUserToGroup", GroupName="g", UserName="ann")
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(allow("s3:Get*")))
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    await world.call("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    key = (await world.call("CreateAccessKey", UserName="ann"))["AccessKey"]["AccessKeyId"]
    steps = [
        ("delete access keys", "DeleteAccessKey", {"AccessKeyId": key}),
        ("detach all policies", "DetachUserPolicy", {"PolicyArn": arn}),
        ("delete policies", "DeleteUserPolicy", {"PolicyName": "p"}),
        ("remove users from group", "RemoveUserFromGroup", {"GroupName": "g"}),
    ]
    for what, operation, params in steps:
        with refusal(ErrorKind.DELETE_CONFLICT, f"Cannot delete entity, must {what} first."):
            await world.call("DeleteUser", UserName="ann")
        await world.call(operation, UserName="ann", **params)
    await world.call("DeleteUser", UserName="ann")
    assert world.tx.count(User) == 0


# --- Access keys ---------------------------------------------------------------------------------------------------


async def test_create_access_key_shows_secret_once_and_stores_it_sealed(world: World) -> None:
    user_id = (await world.call("CreateUser", UserName="ann"))["User"]["UserId"]
    key = (await world.call("CreateAccessKey", UserName="ann"))["AccessKey"]
    assert (key["UserName"], key["Status"], key["CreateDate"]) == ("ann", "Active", NOW)
    assert len(key["AccessKeyId"]) == 20
    assert len(key["SecretAccessKey"]) == 40
    stored = world.tx.get(AccessKey, id=key["AccessKeyId"])
    assert stored is not None
    assert stored.sealed_secret == b"|".join((ALPHA.encode(), user_id.encode(), key["SecretAccessKey"][::-1].encode()))
    listed = await world.call("ListAccessKeys", UserName="ann")
    assert listed["AccessKeyMetadata"] == [
        {"UserName": "ann", "AccessKeyId": key["AccessKeyId"], "Status": "Active", "CreateDate": NOW}
    ]


async def test_create_access_key_secret_is_not_on_the_record(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    key = (await world.call("CreateAccessKey", UserName="ann"))["AccessKey"]
    assert key["AccessKeyId"] in repr(world.journal.events)
    assert key["SecretAccessKey"] not in repr(world.journal.events)


async def test_create_access_key_third_refused(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    for _ in range(2):
        await world.call("CreateAccessKey", UserName="ann")
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for AccessKeysPerUser: 2"):
        await world.call("CreateAccessKey", UserName="ann")


async def test_create_access_key_by_root_without_name_is_the_roots(world: World) -> None:
    key = (await world.call("CreateAccessKey"))["AccessKey"]
    assert key["UserName"] == "root"
    stored = world.tx.get(AccessKey, id=key["AccessKeyId"])
    assert stored is not None
    assert stored.owner_id == ALPHA
    assert (await world.call("ListAccessKeys"))["AccessKeyMetadata"][0]["AccessKeyId"] == key["AccessKeyId"]
    assert (await world.call("GetAccountSummary"))["SummaryMap"]["AccountAccessKeysPresent"] == 1


async def test_update_access_key_of_another_user_refused(world: World) -> None:
    for name in ("ann", "bob"):
        await world.call("CreateUser", UserName=name)
    key = (await world.call("CreateAccessKey", UserName="ann"))["AccessKey"]["AccessKeyId"]
    with refusal(ErrorKind.NOT_FOUND, f"The Access Key with id {key} cannot be found."):
        await world.call("UpdateAccessKey", UserName="bob", AccessKeyId=key, Status="Inactive")
    await world.call("UpdateAccessKey", UserName="ann", AccessKeyId=key, Status="Inactive")
    stored = world.tx.get(AccessKey, id=key)
    assert stored is not None
    assert stored.status.value == "Inactive"


async def test_delete_access_key_of_other_account_refused(world: World) -> None:
    for account in (ALPHA, BETA):
        await world.call("CreateUser", world.root(account), UserName="ann")
    key = (await world.call("CreateAccessKey", world.root(BETA), UserName="ann"))["AccessKey"]["AccessKeyId"]
    with refusal(ErrorKind.NOT_FOUND, f"The Access Key with id {key} cannot be found."):
        await world.call("DeleteAccessKey", UserName="ann", AccessKeyId=key)
