"""The paths of a user's MFA devices. Passkeys are registered in a browser, on the page /account/devices."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import Field

from daypass.domain.directory import MfaDevice
from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Whose
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_UserQuery = Annotated[str, Query(max_length=64, description="Name of a user; empty: you.")]
_PasskeyPath = Annotated[str, Path(max_length=1400, pattern=r"^[A-Za-z0-9_-]+$")]


class PasskeyOut(s.EntityOut):
    id: str
    name: str
    created_at: int
    used_at: s.OptionalMillis = Field(description="null: never.")
    aaguid: str = Field(description="Model of the authenticator, as it says; all zeros: unknown.")
    backed_up: bool = Field(description="Synchronised to other devices of the person.")
    blocked_at: s.OptionalMillis = Field(description="When a copy was detected; null: usable.")


class VirtualDeviceOut(s.Out):
    serial_number: str
    name: str
    enabled_at: int | None

    @classmethod
    def of(cls, device: MfaDevice) -> VirtualDeviceOut:
        return cls.copied(device, serial_number=device.serial)


class DevicesOut(s.Out):
    user: str = Field(description="ARN.")
    passkeys: list[PasskeyOut]
    virtual_devices: list[VirtualDeviceOut]
    recovery_codes: int = Field(description="How many can still be used.")


class PasskeyIn(s.In):
    name: str = Field(min_length=1, max_length=64)


class RecoveryCodesOut(s.Out):
    codes: list[str] = Field(description="Each works once. Only this answer has them.")


@router.get("/mfa-devices", name="ListMfaDevices", tags=["MFA devices"])
async def list_mfa_devices(
    env: s.EnvDep, call: s.CallDep, user: _UserQuery = "", account: s.AccountQuery = ""
) -> DevicesOut:
    """A user's passkeys and MFA devices. Your own need no permission."""
    listed = await devices.list_devices(env, call, Whose(user, account))
    return DevicesOut(
        user=listed.user.arn,
        passkeys=[PasskeyOut.of(each) for each in listed.passkeys],
        virtual_devices=[VirtualDeviceOut.of(each) for each in listed.virtual],
        recovery_codes=listed.recovery_codes,
    )


@router.put("/passkeys/{passkey_id}", name="UpdatePasskey", tags=["MFA devices"])
async def update_passkey(
    env: s.EnvDep,
    call: s.CallDep,
    passkey_id: _PasskeyPath,
    body: PasskeyIn,
    user: _UserQuery = "",
    account: s.AccountQuery = "",
) -> PasskeyOut:
    """Renames a passkey. For your own, your session's MFA is at most 15 minutes old."""
    return PasskeyOut.of(await devices.rename_passkey(env, call, passkey_id, body.name, Whose(user, account)))


@router.delete("/passkeys/{passkey_id}", name="DeletePasskey", tags=["MFA devices"], status_code=204)
async def delete_passkey(
    env: s.EnvDep, call: s.CallDep, passkey_id: _PasskeyPath, user: _UserQuery = "", account: s.AccountQuery = ""
) -> None:
    """Removes a passkey, and signs its user out of other browsers. For your own, as for `UpdatePasskey`."""
    await devices.remove_passkey(env, call, passkey_id, Whose(user, account))


@router.post("/recovery-codes", name="CreateRecoveryCodes", tags=["MFA devices"], status_code=201)
async def create_recovery_codes(env: s.EnvDep, call: s.CallDep) -> RecoveryCodesOut:
    """Makes ten recovery codes for you and revokes the earlier ones. Your session's MFA is at most 15 minutes old."""
    return RecoveryCodesOut(codes=list(await devices.create_recovery_codes(env, call)))
