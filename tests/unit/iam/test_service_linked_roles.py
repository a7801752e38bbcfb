"""Roles that services of AWS use themselves: created, deleted, assumed by nobody, changed by nobody."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from tests.unit.iam.memory import ALPHA, World, allow, policy, trusting

from daypass.data import BuiltinPolicies, service_linked_roles
from daypass.domain.errors import DaypassError, ErrorKind

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
