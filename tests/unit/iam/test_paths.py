"""Paths that belong to AWS are refused for everything that has one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.iam.memory import World, allow, policy, refusal

from daypass.domain.errors import ErrorKind

TRUST = policy({"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"})
MAKING: list[tuple[str, dict[str, Any]]] = [
    ("CreateUser", {"UserName": "x"}),
    ("CreateGroup", {"GroupName": "x"}),
    ("CreateRole", {"RoleName": "x", "AssumeRolePolicyDocument": TRUST}),
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
