"""Virtual MFA devices: what is made, whose it becomes, and which codes move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyotp
import pytest
from msgspec import structs
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal

from daypass.domain.directory import MfaDevice
from daypass.domain.errors import ErrorKind

SERIAL = f"arn:aws:iam::{ALPHA}:mfa/phone"
INVALID_FOR_USER = "MFA Device invalid for user."


def seconds(world: World) -> int:
    return world.clock.time // 1000


async def device(world: World, name: str = "phone", **more: Any) -> tuple[str, pyotp.TOTP]:
    """A new device: its serial number and its authenticator app."""
    made = (await world.call("CreateVirtualMFADevice", VirtualMFADeviceName=name, **more))["VirtualMFADevice"]
    return made["SerialNumber"], pyotp.TOTP(made["Base32StringSeed"].decode())


def codes(world: World, app: pyotp.TOTP, off: int = -1) -> dict[str, str]:
    """Two codes in a row, the first so many steps from now."""
    at = seconds(world) + off * 30
    return {"AuthenticationCode1": app.at(at), "AuthenticationCode2": app.at(at + 30)}


async def enabled(world: World, user: str, name: str = "phone") -> tuple[str, pyotp.TOTP]:
    serial, app = await device(world, name)
    await world.call("EnableMFADevice", UserName=user, SerialNumber=serial, **codes(world, app))
    return serial, app


async def test_create_virtual_mfa_device_gives_the_seed_once_and_its_picture(world: World) -> None:
    answer = await world.call("CreateVirtualMFADevice", VirtualMFADeviceName="phone", Path="/p/")
    made = answer["VirtualMFADevice"]
    assert made["SerialNumber"] == f"arn:aws:iam::{ALPHA}:mfa/p/phone"
    assert len(made["Base32StringSeed"]) == 64
    assert made["QRCodePNG"].startswith(b"\x89PNG\r\n")
    stored = world.tx.get(MfaDevice, serial=made["SerialNumber"])
    assert stored is not None
    assert stored.owner_id is None
    shown = repr(world.journal.events)
    assert made["Base32StringSeed"].decode() not in shown
    listed = await world.call("ListVirtualMFADevices")
    assert listed == {"VirtualMFADevices": [{"SerialNumber": made["SerialNumber"]}], "IsTruncated": False}


async def test_create_virtual_mfa_device_name_taken_or_too_long_is_refused(world: World) -> None:
    await device(world)
    with refusal(ErrorKind.ALREADY_EXISTS, "MFA device already exists."):
        await device(world)
    for length in (300, 20_000):  # neither a serial number nor a QR code holds it
        with refusal(ErrorKind.INVALID_INPUT):
            await device(world, "a" * length)


async def test_enable_mfa_device_with_two_codes_in_a_row_gives_it_to_the_user(world: World) -> None:
    await world.call("CreateUser", UserName="ann", Tags=[{"Key": "t", "Value": "v"}])
    serial, _ = await enabled(world, "ann")
    listed = await world.call("ListMFADevices", UserName="ann")
    assert listed["MFADevices"] == [{"UserName": "ann", "SerialNumber": serial, "EnableDate": NOW}]
    assert await world.call("GetMFADevice", SerialNumber=serial) == listed["MFADevices"][0]
    assert (await world.call("ListVirtualMFADevices", AssignmentStatus="Unassigned"))["VirtualMFADevices"] == []
    [shown] = (await world.call("ListVirtualMFADevices", AssignmentStatus="Assigned"))["VirtualMFADevices"]
    assert (shown["User"]["UserName"], shown["EnableDate"]) == ("ann", NOW)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (-1, 1), (-130, -129), (130, 131)])
async def test_enable_mfa_device_with_other_codes_is_refused(world: World, first: int, second: int) -> None:
    await world.call("CreateUser", UserName="ann")
    serial, app = await device(world)
    wrong = {
        "AuthenticationCode1": app.at(seconds(world) + 30 * first),
        "AuthenticationCode2": app.at(seconds(world) + 30 * second),
    }
    with refusal(ErrorKind.INVALID_AUTHENTICATION_CODE, "Authentication code for device is not valid."):
        await world.call("EnableMFADevice", UserName="ann", SerialNumber=serial, **wrong)
    assert (await world.call("ListMFADevices", UserName="ann"))["MFADevices"] == []


async def test_enable_mfa_device_takes_codes_newer_than_the_last_ones(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    serial, app = await enabled(world, "ann")
    await world.call("DeactivateMFADevice", UserName="ann", SerialNumber=serial)
    with refusal(ErrorKind.INVALID_AUTHENTICATION_CODE):
        await world.call("EnableMFADevice", UserName="ann", SerialNumber=serial, **codes(world, app))
    with refusal(ErrorKind.INVALID_AUTHENTICATION_CODE):
        await world.call("EnableMFADevice", UserName="ann", SerialNumber=serial, **codes(world, app, 0))
    await world.call("EnableMFADevice", UserName="ann", SerialNumber=serial, **codes(world, app, 1))


async def test_user_with_a_device_changes_its_own_only_with_mfa(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    everything = policy(allow("iam:*"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=everything)
    ann = world.as_user("ann")
    serial, app = await device(world)
    await world.call("EnableMFADevice", ann, UserName="ann", SerialNumber=serial, **codes(world, app))
    second, other = await device(world, "second")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("EnableMFADevice", ann, UserName="ann", SerialNumber=second, **codes(world, other))
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("DeactivateMFADevice", ann, UserName="ann", SerialNumber=serial)
    await world.call("ResyncMFADevice", ann, UserName="ann", SerialNumber=serial, **codes(world, app, 2))
    with_mfa = structs.replace(ann, mfa_at=NOW)
    await world.call("DeactivateMFADevice", with_mfa, UserName="ann", SerialNumber=serial)
    await world.call("EnableMFADevice", ann, UserName="ann", SerialNumber=second, **codes(world, other))


async def test_enable_mfa_device_in_use_unknown_or_over_the_quota_is_refused(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateUser", UserName="bob")
    serial, app = await enabled(world, "ann")
    with refusal(ErrorKind.ALREADY_EXISTS, "MFA Device is already in use."):
        await world.call("EnableMFADevice", UserName="bob", SerialNumber=serial, **codes(world, app, 2))
    with refusal(ErrorKind.NOT_FOUND, f"MFA Device with serial number {serial}x does not exist."):
        await world.call("EnableMFADevice", UserName="bob", SerialNumber=serial + "x", **codes(world, app))
    for number in range(7):
        await enabled(world, "ann", f"more{number}")
    ninth, app = await device(world, "ninth")
    with refusal(ErrorKind.LIMIT_EXCEEDED, "Cannot exceed quota for MFADevicesPerUser: 8"):
        await world.call("EnableMFADevice", UserName="ann", SerialNumber=ninth, **codes(world, app))


async def test_resync_mfa_device_learns_how_far_off_its_clock_is(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    serial, app = await enabled(world, "ann")
    await world.call("ResyncMFADevice", UserName="ann", SerialNumber=serial, **codes(world, app, 9))
    stored = world.tx.get(MfaDevice, serial=serial)
    assert stored is not None
    assert stored.drift == 10
    with refusal(ErrorKind.INVALID_AUTHENTICATION_CODE):
        await world.call("ResyncMFADevice", UserName="ann", SerialNumber=serial, **codes(world, app, 9))


async def test_mfa_device_of_another_user_is_invalid_for_this_one(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    await world.call("CreateUser", UserName="bob")
    serial, app = await enabled(world, "ann")
    for operation in ("DeactivateMFADevice", "GetMFADevice"):
        with refusal(ErrorKind.NOT_FOUND, INVALID_FOR_USER):
            await world.call(operation, UserName="bob", SerialNumber=serial)
    with refusal(ErrorKind.NOT_FOUND, INVALID_FOR_USER):
        await world.call("ResyncMFADevice", UserName="bob", SerialNumber=serial, **codes(world, app, 3))
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("DeactivateMFADevice", world.root(BETA), SerialNumber=serial)


async def test_mfa_device_in_use_keeps_itself_and_its_user(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    serial, _ = await enabled(world, "ann")
    with refusal(ErrorKind.DELETE_CONFLICT, "MFA VirtualDevice in use. Must deactivate first."):
        await world.call("DeleteVirtualMFADevice", SerialNumber=serial)
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete entity, must delete MFA device first."):
        await world.call("DeleteUser", UserName="ann")
    await world.call("DeactivateMFADevice", UserName="ann", SerialNumber=serial)
    assert await world.call("GetMFADevice", SerialNumber=serial) == {"SerialNumber": serial}
    await world.call("DeleteVirtualMFADevice", SerialNumber=serial)
    await world.call("DeleteUser", UserName="ann")
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("GetMFADevice", SerialNumber=serial)


async def test_mfa_device_of_the_root_shows_in_the_summary(world: World) -> None:
    await device(world, "spare")
    serial, _ = await enabled(world, "root")
    assert (await world.call("ListMFADevices"))["MFADevices"][0]["SerialNumber"] == serial
    [shown] = (await world.call("ListVirtualMFADevices", AssignmentStatus="Assigned"))["VirtualMFADevices"]
    assert shown["User"]["Arn"] == f"arn:aws:iam::{ALPHA}:root"
    summary = (await world.call("GetAccountSummary"))["SummaryMap"]
    counted = ("AccountMFAEnabled", "MFADevices", "MFADevicesInUse")
    assert [summary[name] for name in counted] == [1, 2, 1]
    await world.call("DeactivateMFADevice", SerialNumber=serial)
    assert (await world.call("GetAccountSummary"))["SummaryMap"]["AccountMFAEnabled"] == 0


async def test_user_named_root_is_nobody_but_that_user(world: World) -> None:
    await world.call("CreateUser", UserName="root")
    serial, _ = await enabled(world, "root")
    stored = world.tx.get(MfaDevice, serial=serial)
    assert stored is not None
    assert stored.owner_id != ALPHA
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("ListMFADevices", world.root(BETA), UserName="root2")


async def test_user_may_manage_its_own_device_by_policy_and_no_other(world: World) -> None:
    for name in ("ann", "bob"):
        await world.call("CreateUser", UserName=name)
    own = policy(
        allow("iam:CreateVirtualMFADevice", "arn:aws:iam::*:mfa/${aws:username}"),
        allow(["iam:EnableMFADevice", "iam:ListMFADevices"], "arn:aws:iam::*:user/${aws:username}"),
    )
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=own)
    ann = world.as_user("ann")
    made: Mapping[str, Any] = await world.call("CreateVirtualMFADevice", ann, VirtualMFADeviceName="ann")
    app = pyotp.TOTP(made["VirtualMFADevice"]["Base32StringSeed"].decode())
    serial = made["VirtualMFADevice"]["SerialNumber"]
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("CreateVirtualMFADevice", ann, VirtualMFADeviceName="bob")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("EnableMFADevice", ann, UserName="bob", SerialNumber=serial, **codes(world, app))
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("EnableMFADevice", ann, UserName="root", SerialNumber=serial, **codes(world, app))
    await world.call("EnableMFADevice", ann, UserName="ann", SerialNumber=serial, **codes(world, app))
    assert len((await world.call("ListMFADevices", ann))["MFADevices"]) == 1


async def test_tags_of_mfa_devices_tell_case_apart_and_bind_policies(world: World) -> None:
    serial, _ = await device(world, Tags=[{"Key": "team", "Value": "a"}])
    await world.call("TagMFADevice", SerialNumber=serial, Tags=[{"Key": "Team", "Value": "b"}])
    tags = (await world.call("ListMFADeviceTags", SerialNumber=serial))["Tags"]
    assert tags == [{"Key": "Team", "Value": "b"}, {"Key": "team", "Value": "a"}]
    await world.call("UntagMFADevice", SerialNumber=serial, TagKeys=["Team"])
    await world.call("CreateUser", UserName="ann")
    tagged = allow("iam:DeleteVirtualMFADevice", Condition={"StringEquals": {"iam:ResourceTag/team": "a"}})
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(tagged))
    other, _ = await device(world, "other")
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("DeleteVirtualMFADevice", world.as_user("ann"), SerialNumber=other)
    await world.call("DeleteVirtualMFADevice", world.as_user("ann"), SerialNumber=serial)


async def test_list_virtual_mfa_devices_pages_and_keeps_accounts_apart(world: World) -> None:
    for number in range(5):
        await device(world, f"d{number}", Path=f"/{'p' * 180}/")
    await world.call("CreateVirtualMFADevice", world.root(BETA), VirtualMFADeviceName="theirs")
    found: list[str] = []
    page: Mapping[str, Any] = {"Marker": ""}
    while "Marker" in page:
        assert len(page["Marker"]) <= 320
        page = await world.call("ListVirtualMFADevices", MaxItems=2, Marker=page["Marker"])
        found += [shown["SerialNumber"].rpartition("/")[2] for shown in page["VirtualMFADevices"]]
    assert found == ["d0", "d1", "d2", "d3", "d4"]


async def test_seed_moved_to_another_device_or_owner_opens_for_nobody(world: World) -> None:
    await world.call("CreateUser", UserName="ann")
    serial, _ = await enabled(world, "ann")
    stored = world.tx.get(MfaDevice, serial=serial)
    other, app = await device(world, "other")
    foreign = world.tx.get(MfaDevice, serial=other)
    assert stored is not None
    assert foreign is not None
    world.tx.replace(replace(stored, sealed_seed=foreign.sealed_seed))
    with refusal(ErrorKind.UNAVAILABLE):
        await world.call("ResyncMFADevice", UserName="ann", SerialNumber=serial, **codes(world, app, 3))
