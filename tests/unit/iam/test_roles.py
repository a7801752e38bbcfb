"""Roles, and those linked to services."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, unquote

import pytest
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal, trusting

from daypass.data import BuiltinPolicies, service_linked_roles
from daypass.domain.directory import Role
from daypass.domain.errors import DaypassError, ErrorKind

ROOT = f"arn:aws:iam::{ALPHA}:root"


async def _role(world: World, document: str = trusting(ROOT), name: str = "r") -> Role:
    await world.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=document)
    role = world.tx.get(Role, account=ALPHA, name=name)
    assert role is not None
    return role


async def _echo(world: World, name: str = "r") -> str:
    return unquote((await world.call("GetRole", RoleName=name))["Role"]["AssumeRolePolicyDocument"])


async def test_create_role_answers_everything_url_encoded(world: World) -> None:
    text = trusting(ROOT)
    answer = await world.call(
        "CreateRole",
        RoleName="deploy",
        Path="/ci/",
        AssumeRolePolicyDocument=text,
        Description="for CI",
        MaxSessionDuration=7200,
        Tags=[{"Key": "Team", "Value": "red"}],
    )
    role = answer["Role"]
    assert role["RoleId"].startswith("AROA")
    assert len(role["RoleId"]) == 21
    assert role == {
        "Path": "/ci/",
        "RoleName": "deploy",
        "RoleId": role["RoleId"],
        "Arn": f"arn:aws:iam::{ALPHA}:role/ci/deploy",
        "CreateDate": NOW,
        "AssumeRolePolicyDocument": quote(text, safe=""),
        "Tags": [{"Key": "Team", "Value": "red"}],
    }
    whole = (await world.call("GetRole", RoleName="deploy"))["Role"]
    assert whole == {**role, "Description": "for CI", "MaxSessionDuration": 7200, "RoleLastUsed": {}}
    assert "*" not in role["AssumeRolePolicyDocument"]


async def test_create_role_same_name_refused(world: World) -> None:
    await _role(world)
    with refusal(ErrorKind.ALREADY_EXISTS, "Role with name R already exists."):
        await world.call("CreateRole", RoleName="R", AssumeRolePolicyDocument=trusting(ROOT))


async def test_create_role_malformed_document_refused(world: World) -> None:
    with refusal(ErrorKind.MALFORMED_POLICY):
        await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument="{")
    assert world.tx.count(Role) == 0


async def test_create_role_malformed_document_by_one_without_permission_is_denied(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("CreateRole", world.as_user("ann"), RoleName="r", AssumeRolePolicyDocument="{")


@pytest.mark.parametrize(
    "principal",
    [
        f"arn:aws:iam::{ALPHA}:user/nobody",
        f"arn:aws:iam::{ALPHA}:role/nobody",
        f"arn:aws:iam::{ALPHA}:user/wrong/path/ann",
        f"arn:aws:iam::{ALPHA}:user/ANN",
        f"arn:aws:sts::{ALPHA}:assumed-role/nobody/session",
        "arn:aws:iam::999999999999:root",
        "999999999999",
        "AIDAQQQQQQQQQQQQQQQQQ",
    ],
)
async def test_create_role_unknown_principal_refused(world: World, principal: str) -> None:
    await world.call("CreateUser", UserName="ann")
    with refusal(ErrorKind.MALFORMED_POLICY, f'Invalid principal in policy: "AWS":"{principal}"'):
        await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(principal))


async def test_create_role_binds_principals_to_unique_ids(world: World) -> None:
    user_id = (await world.call("CreateUser", world.root(BETA), UserName="ann", Path="/p/"))["User"]["UserId"]
    other = await _role(world, name="other")
    user_arn = f"arn:aws:iam::{BETA}:user/p/ann"
    session = f"arn:aws:sts::{ALPHA}:assumed-role/other/s1"
    role = await _role(world, trusting(user_arn, other.arn, session, "*", BETA, user_id))
    assert dict(role.trust_bindings) == {user_arn: user_id, other.arn: other.id, session: other.id}


async def test_create_role_service_and_federated_principals_accepted(world: World) -> None:
    text = policy(
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"Federated": "idp.example.com"}, "Action": "sts:AssumeRoleWithWebIdentity"},
    )
    assert (await _role(world, text)).trust_bindings == ()


async def test_get_role_unchanged_echo(world: World) -> None:
    text = '{ "Version":"2012-10-17",\n\t"Statement": {"Effect":"Allow", "Principal":{"AWS":"' + ALPHA + '"},'
    text += '\r\n "Action" : "sts:AssumeRole","Sid":"\\u0041"}}'
    await _role(world, text)
    assert await _echo(world) == text


async def test_a55_get_role_deleted_principal_shows_its_id_and_recreated_one_does_not_return(world: World) -> None:
    arn = f"arn:aws:iam::{ALPHA}:user/ann"
    user_id = (await world.call("CreateUser", UserName="ann"))["User"]["UserId"]
    condition = {"StringEquals": {"aws:PrincipalArn": arn}}
    text = policy(
        {"Effect": "Allow", "Principal": {"AWS": [ROOT, arn]}, "Action": "sts:AssumeRole", "Condition": condition}
    )
    await _role(world, text)
    await world.call("DeleteUser", UserName="ann")
    await world.call("CreateUser", UserName="ann")
    shown = json.loads(await _echo(world))["Statement"][0]
    assert shown["Principal"]["AWS"] == [ROOT, user_id]
    assert shown["Condition"] == condition


async def test_get_role_deleted_principal_written_with_escapes_and_lines(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    escaped = f"\\u0061rn:aws:iam::{ALPHA}:user/ann"
    text = '{"Version":"2012-10-17",\n"Statement":[{"Effect":"Allow","Principal":\n  {"AWS": "' + escaped + '"},'
    text += '"Action":"sts:AssumeRole"}]}'
    role = await _role(world, text)
    await world.call("DeleteUser", UserName="ann")
    assert await _echo(world) == text.replace(escaped, role.trust_bindings[0][1])


async def test_get_role_renamed_principal_shows_its_new_arn(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await _role(world, trusting(f"arn:aws:iam::{ALPHA}:user/ann"))
    await world.call("UpdateUser", UserName="ann", NewUserName="anna", NewPath="/p/")
    assert await _echo(world) == trusting(f"arn:aws:iam::{ALPHA}:user/p/anna")


async def test_get_role_deleted_role_session_shows_the_role_id(world: World) -> None:
    other = await _role(world, name="other")
    await _role(world, trusting(f"arn:aws:sts::{ALPHA}:assumed-role/other/s1"))
    await world.call("DeleteRole", RoleName="other")
    assert await _echo(world) == trusting(f"{other.id}:s1")


async def test_update_assume_role_policy_binds_anew(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    arn = f"arn:aws:iam::{ALPHA}:user/ann"
    first = await _role(world, trusting(arn))
    await world.call("DeleteUser", UserName="ann")
    await world.call("CreateUser", UserName="ann")
    await world.call("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=trusting(arn))
    role = world.tx.get(Role, id=first.id)
    assert role is not None
    assert role.trust_bindings[0][1] != first.trust_bindings[0][1]
    assert await _echo(world) == trusting(arn)


async def test_update_assume_role_policy_refusal_leaves_the_old_document(world: World) -> None:
    await _role(world)
    with refusal(ErrorKind.MALFORMED_POLICY):
        await world.call("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=policy(allow("s3:*")))
    assert await _echo(world) == trusting(ROOT)


async def test_create_role_trust_over_quota_refused_without_counting_white_space(world: World) -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"}
    room = 2048 - len("".join(policy({**statement, "Sid": ""}).split()))
    fits = policy({**statement, "Sid": "s" * room})
    await _role(world, json.dumps(json.loads(fits), indent=8))
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for ACLSizePerRole: 2048"):
        await _role(world, policy({**statement, "Sid": "s" * (room + 1)}), "r2")


async def test_update_role_without_parameters_changes_nothing(world: World) -> None:
    await world.call(
        "CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(ROOT), MaxSessionDuration=43200, Description="old"
    )
    await world.call("UpdateRole", RoleName="r")
    role = (await world.call("GetRole", RoleName="r"))["Role"]
    assert (role["MaxSessionDuration"], role["Description"]) == (43200, "old")
    await world.call("UpdateRole", RoleName="r", Description="", MaxSessionDuration=3601)
    role = (await world.call("GetRole", RoleName="r"))["Role"]
    assert (role["MaxSessionDuration"], role["Description"]) == (3601, "")


@pytest.mark.parametrize("seconds", [3599, 43201, -1])
async def test_create_role_duration_out_of_range_refused(world: World, seconds: int) -> None:
    with refusal(ErrorKind.VALIDATION):
        await world.call(
            "CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(ROOT), MaxSessionDuration=seconds
        )


async def test_update_role_description_answers_role(world: World) -> None:
    await _role(world)
    answer = await world.call("UpdateRoleDescription", RoleName="r", Description="new")
    assert answer["Role"]["Description"] == "new"


async def test_get_role_unknown_refused(world: World) -> None:
    with refusal(ErrorKind.NOT_FOUND, "The role with name nope cannot be found."):
        await world.call("GetRole", RoleName="nope")


async def test_delete_role_with_policies_refused(world: World) -> None:
    await _role(world)
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    await world.call("AttachRolePolicy", RoleName="r", PolicyArn=arn)
    await world.call("PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete entity, must detach all policies first."):
        await world.call("DeleteRole", RoleName="r")
    await world.call("DetachRolePolicy", RoleName="r", PolicyArn=arn)
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete entity, must delete policies first."):
        await world.call("DeleteRole", RoleName="r")
    await world.call("DeleteRolePolicy", RoleName="r", PolicyName="p")
    await world.call("DeleteRole", RoleName="r")


async def test_list_roles_leaves_out_tags_and_boundary(world: World) -> None:
    await world.call(
        "CreateRole",
        RoleName="r",
        AssumeRolePolicyDocument=trusting(ROOT),
        PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess",
        Tags=[{"Key": "a", "Value": "b"}],
    )
    (role,) = (await world.call("ListRoles"))["Roles"]
    assert "Tags" not in role
    assert "PermissionsBoundary" not in role
    whole = (await world.call("GetRole", RoleName="r"))["Role"]
    assert whole["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "Policy",
        "PermissionsBoundaryArn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    }
    assert whole["RoleLastUsed"] == {}


# --- Roles that services of AWS use themselves: created, deleted, assumed by nobody, changed by nobody


SERVICE = "autoscaling.amazonaws.com"
NAME = "AWSServiceRoleForAutoScaling"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


async def refused(world: World, kind: ErrorKind, operation: str, **parameters: Any) -> str:
    with pytest.raises(DaypassError) as caught:
        await world.call(operation, **parameters)
    assert caught.value.kind is kind, caught.value
    return caught.value.public


async def test_create_service_linked_role_has_the_names_and_policy_of_aws(world: World) -> None:
    for service, known in service_linked_roles().items():
        made = (await world.call("CreateServiceLinkedRole", AWSServiceName=service))["Role"]
        assert made["RoleName"] == known.name
        assert made["Arn"] == f"arn:aws:iam::{ALPHA}:role/aws-service-role/{service}/{known.name}"
        (statement,) = json.loads(unquote(made["AssumeRolePolicyDocument"]))["Statement"]
        assert statement == {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        attached = (await world.call("ListAttachedRolePolicies", RoleName=known.name))["AttachedPolicies"]
        assert [each["PolicyArn"] for each in attached] == ([known.policy] if known.policy else [])
        assert not known.policy or known.policy in BuiltinPolicies()


async def test_create_service_linked_role_with_a_suffix_only_where_aws_allows_it(world: World) -> None:
    suffixed = await world.call("CreateServiceLinkedRole", AWSServiceName=SERVICE, CustomSuffix="blue")
    assert suffixed["Role"]["RoleName"] == f"{NAME}_blue"
    said = await refused(
        world, ErrorKind.INVALID_INPUT, "CreateServiceLinkedRole", AWSServiceName=SERVICE, CustomSuffix="blue"
    )
    assert said == f"Service role name {NAME}_blue has been taken in this account, please try a different suffix."
    service = {"AWSServiceName": "eks.amazonaws.com", "CustomSuffix": "blue"}
    said = await refused(world, ErrorKind.INVALID_INPUT, "CreateServiceLinkedRole", **service)
    assert said == "Custom suffix is not allowed for eks.amazonaws.com"
    await refused(world, ErrorKind.INVALID_INPUT, "CreateServiceLinkedRole", AWSServiceName="nothing.amazonaws.com")


async def test_delete_service_linked_role_succeeds_and_its_task_says_so(world: World) -> None:
    await world.call("CreateServiceLinkedRole", AWSServiceName=SERVICE)
    made = {"DeletionTaskId": f"task/aws-service-role/{SERVICE}/{NAME}/01234567-89ab-cdef-0123-456789abcdef"}
    await refused(world, ErrorKind.NOT_FOUND, "GetServiceLinkedRoleDeletionStatus", **made)
    task = (await world.call("DeleteServiceLinkedRole", RoleName=NAME))["DeletionTaskId"]
    assert task.startswith(f"task/aws-service-role/{SERVICE}/{NAME}/")
    assert (await world.call("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task))["Status"] == "SUCCEEDED"
    await refused(world, ErrorKind.NOT_FOUND, "GetRole", RoleName=NAME)
    await world.call("CreateRole", RoleName="own", AssumeRolePolicyDocument=trusting(ALPHA))
    await refused(world, ErrorKind.NOT_FOUND, "DeleteServiceLinkedRole", RoleName="own")
    await refused(world, ErrorKind.NOT_FOUND, "GetServiceLinkedRoleDeletionStatus", DeletionTaskId="task/own")


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("DeleteRole", {}),
        ("UpdateRole", {"MaxSessionDuration": 7200}),
        ("UpdateAssumeRolePolicy", {"PolicyDocument": trusting(ALPHA)}),
        ("PutRolePolicy", {"PolicyName": "p", "PolicyDocument": policy(allow("*"))}),
        ("AttachRolePolicy", {"PolicyArn": READ_ONLY}),
        ("DetachRolePolicy", {"PolicyArn": service_linked_roles()[SERVICE].policy}),
        ("PutRolePermissionsBoundary", {"PermissionsBoundary": READ_ONLY}),
        ("AddRoleToInstanceProfile", {"InstanceProfileName": "machine"}),
    ],
)
async def test_service_linked_role_is_changed_by_nobody(world: World, operation: str, more: dict[str, Any]) -> None:
    await world.call("CreateInstanceProfile", InstanceProfileName="machine")
    await world.call("CreateServiceLinkedRole", AWSServiceName=SERVICE)
    said = await refused(world, ErrorKind.UNMODIFIABLE, operation, RoleName=NAME, **more)
    assert said.startswith(f"Cannot perform the operation on the protected role '{NAME}'")
    await world.call("UpdateRoleDescription", RoleName=NAME, Description="of the fleet")
    await world.call("TagRole", RoleName=NAME, Tags=[{"Key": "a", "Value": "b"}])


async def test_policy_of_a_service_linked_role_is_attached_to_no_other(world: World) -> None:
    await world.call("CreateRole", RoleName="own", AssumeRolePolicyDocument=trusting(ALPHA))
    arn = service_linked_roles()[SERVICE].policy
    await refused(world, ErrorKind.POLICY_NOT_ATTACHABLE, "AttachRolePolicy", RoleName="own", PolicyArn=arn)
