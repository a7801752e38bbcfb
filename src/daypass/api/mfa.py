"""MFA devices and recovery codes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from daypass.api.operation import InAccount, Operation, OptionalMillis, Output


class ListMfaDevicesInput(InAccount):
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class PasskeyOut(Output):
    id: str
    name: str
    created_at: int
    used_at: Annotated[OptionalMillis, Meta(description="null: never.")]
    aaguid: Annotated[str, Meta(description="Model of the authenticator, as it says; all zeros: unknown.")]
    backed_up: Annotated[bool, Meta(description="Synchronised to other devices of the person.")]
    blocked_at: Annotated[OptionalMillis, Meta(description="When a copy was detected; null: usable.")]


class VirtualDeviceOut(Output):
    serial_number: Annotated[str, Meta(extra={"from": "serial"})]
    name: str
    enabled_at: int | None


class DevicesOut(Output):
    user: Annotated[str, Meta(description="ARN.")]
    passkeys: list[PasskeyOut]
    virtual_devices: list[VirtualDeviceOut]
    recovery_codes: Annotated[int, Meta(description="How many can still be used.")]


class UpdatePasskeyInput(InAccount):
    passkey_id: Annotated[str, Meta(max_length=1400, pattern="^[A-Za-z0-9_-]+$")]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class DeletePasskeyInput(InAccount):
    passkey_id: Annotated[str, Meta(max_length=1400, pattern="^[A-Za-z0-9_-]+$")]
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class RecoveryCodesOut(Output):
    codes: Annotated[list[str], Meta(description="Each works once. Only this answer has them.")]


LIST_MFA_DEVICES = Operation(
    "ListMfaDevices",
    "GET /mfa-devices",
    "A user's passkeys and MFA devices. Your own need no permission.",
    "MFA devices",
    ListMfaDevicesInput,
    DevicesOut,
)
UPDATE_PASSKEY = Operation(
    "UpdatePasskey",
    "PUT /passkeys/{passkey_id}",
    "Renames a passkey. For your own, your session's MFA is at most 15 minutes old.",
    "MFA devices",
    UpdatePasskeyInput,
    PasskeyOut,
    query=("account", "user"),
)
DELETE_PASSKEY = Operation(
    "DeletePasskey",
    "DELETE /passkeys/{passkey_id}",
    "Removes a passkey, and signs its user out of other browsers. For your own, as for `UpdatePasskey`.",
    "MFA devices",
    DeletePasskeyInput,
    status=204,
)
CREATE_RECOVERY_CODES = Operation(
    "CreateRecoveryCodes",
    "POST /recovery-codes",
    "Makes ten recovery codes for you and revokes the earlier ones. Your session's MFA is at most 15 minutes old.",
    "MFA devices",
    output=RecoveryCodesOut,
    status=201,
)
