"""MFA devices in IAM's operations: passkeys are listed and removed; virtual devices are created, assigned to a user or the root, synchronised, deactivated, deleted.

Only the response that creates a device contains the seed; it is stored sealed for the device's owner and never shown
again. Enabling a device takes two consecutive codes, newer than any two used before.
Source: IAM API, "CreateVirtualMFADevice", "EnableMFADevice", "ResyncMFADevice"; IAM User Guide, "Virtual MFA devices".
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from daypass.domain.arn import root_arn
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.directory import Account, BrowserSession, MfaDevice, Passkey, RecoveryCode, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.ssf import CredentialChange
from daypass.domain.totp import consecutive_step, drift_of
from daypass.operations.crud import Answer, AuthorizedResource, Params
from daypass.operations.iam import context, documents, faults, find, paging, resources, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page, page_of
from daypass.operations.ssf.logout import sign_out
from daypass.ports import Ids, Reader, Tx

if TYPE_CHECKING:
    from daypass.ports import Sealer

_MAX_SERIAL: Final = 256  # serialNumberType of the service model
REMOVED: Final = "x-daypass-removed"
"""The changes of credentials in the answer of DeactivateMFADevice, for event streams. Not a member of its shape."""
_FIDO: Final = ":u2f/user/"
_SCALE: Final = 5  # pixels for each module of the QR code


# --- Resources


def device_resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """A device by its serial number, which is its ARN."""
    device = _find(ctx, p["SerialNumber"])
    return AuthorizedResource(p["SerialNumber"], tags=device.tags if device is not None else ())


def new_resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
    return AuthorizedResource(_serial(ctx, p))


def all_resource(ctx: ReadContext, _p: Params) -> AuthorizedResource:
    return AuthorizedResource(f"arn:aws:iam::{ctx.account}:mfa/")


def owner_resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The user who will have the device, has it, or is named in the request; by default the caller."""
    return AuthorizedResource(root_arn(ctx.account)) if _is_root(ctx, p) else resources.user_or_caller(ctx, p)


def shown_resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The owner of the device; the device itself when it has no owner."""
    if p.get("UserName"):
        return owner_resource(ctx, p)
    device = _find(ctx, p["SerialNumber"])
    owner = _owner_of(ctx, device) if device is not None else None
    return resources.of(owner) if owner is not None else device_resource(ctx, p)


def _is_root(ctx: ReadContext, p: Params) -> bool:
    named = p.get("UserName") == documents.ROOT_NAME and ctx.caller.kind is PrincipalKind.ROOT
    return named and ctx.tx.get(User, account=ctx.account, name=documents.ROOT_NAME) is None


# --- Creation


@dataclass(frozen=True, slots=True)
class _NewSeed:
    """A seed and its picture; drawing takes milliseconds, so it is done before the write."""

    seed: bytes
    text: bytes  # 64 letters and digits (RFC 4648, base 32)
    png: bytes


def new_seed(ctx: ReadContext, p: Params, ids: Ids) -> _NewSeed:
    """A new seed, and its QR code for authenticator apps."""
    import segno  # noqa: PLC0415  # seldom needed

    if len(_serial(ctx, p)) > _MAX_SERIAL:  # a QR code cannot hold every name
        raise faults.invalid_input(f"The serial number of the device would be longer than {_MAX_SERIAL} characters.")
    seed = ids.seed()
    text = base64.b32encode(seed)
    label = quote(f"{p['VirtualMFADeviceName']}@{ctx.account}")
    code = segno.make(f"otpauth://totp/{label}?secret={text.decode()}&issuer=Daypass", error="m", micro=False)
    png = io.BytesIO()
    code.save(png, kind="png", scale=_SCALE)
    return _NewSeed(seed, text, png.getvalue())


def create_virtual_mfa_device(ctx: WriteContext, p: Params) -> Answer:
    serial = _serial(ctx, p)
    context.within_quota(ctx, MfaDevice, "MFADevicesPerAccount", paging.USERS_PER_ACCOUNT, account=ctx.account)
    new: _NewSeed = ctx.gathered
    device = MfaDevice(
        account=ctx.account,
        serial=serial,
        name=p["VirtualMFADeviceName"],
        path=context.path_of(p),
        created_at=ctx.now,
        sealed_seed=seal_seed(ctx.sealer, new.seed, ctx.account, None, serial),
        tags=tags.first_exact(p),
    )
    taken = faults.already_exists("MFA device already exists.")
    context.insert(ctx, device, taken)
    shown: dict[str, Any] = {"SerialNumber": serial, "Base32StringSeed": new.text, "QRCodePNG": new.png}
    if device.tags:
        shown["Tags"] = documents.tags(device.tags)
    return {"VirtualMFADevice": shown}


def delete_virtual_mfa_device(ctx: WriteContext, p: Params) -> Answer:
    device = _device(ctx, p["SerialNumber"])
    if device.owner_id is not None:
        raise faults.delete_conflict("MFA VirtualDevice in use. Must deactivate first.")
    ctx.tx.delete(device)
    return {}


# --- Assignment


def enable_mfa_device(ctx: WriteContext, p: Params) -> Answer:
    owner = owner_of_call(ctx, p)
    _refuse_own_without_mfa(ctx, owner, "iam:EnableMFADevice")
    device = _device(ctx, p["SerialNumber"])
    if device.owner_id is not None:
        raise faults.already_exists("MFA Device is already in use.")
    context.within_quota(ctx, MfaDevice, "MFADevicesPerUser", paging.MFA_DEVICES_PER_USER, owner_id=owner.id)
    updated, seed = _in_step(ctx, device, p)
    sealed = seal_seed(ctx.sealer, seed, ctx.account, owner.id, device.serial)
    ctx.tx.replace(replace(updated, owner_id=owner.id, enabled_at=ctx.now, sealed_seed=sealed))
    return {}


def resync_mfa_device(ctx: WriteContext, p: Params) -> Answer:
    """Measures the drift of the device's clock again. This ends a lock after wrong codes."""
    device = _device_of(ctx, owner_of_call(ctx, p), p["SerialNumber"])
    updated, _ = _in_step(ctx, device, p)
    ctx.tx.replace(updated)
    return {}


def deactivate_mfa_device(ctx: WriteContext, p: Params) -> Answer:
    """The device still exists, without an owner."""
    owner = owner_of_call(ctx, p)
    _refuse_own_without_mfa(ctx, owner, "iam:DeactivateMFADevice")
    if _FIDO in p["SerialNumber"]:
        return {REMOVED: take_away(ctx.ids, ctx.tx, ctx.caller, *_passkey(ctx, owner, p["SerialNumber"]), ctx.now)}
    device = _device_of(ctx, owner, p["SerialNumber"])
    seed = open_seed(ctx.sealer, device)
    freed = seal_seed(ctx.sealer, seed, ctx.account, None, device.serial)
    ctx.tx.replace(replace(device, owner_id=None, enabled_at=None, sealed_seed=freed))
    return {}


def _refuse_own_without_mfa(ctx: WriteContext, owner: User | Account, action: str) -> None:
    """A user who has a device can add and remove own devices only with recent MFA.

    Otherwise the thief of a key, or of a session that had MFA hours ago, could replace the user's device and confirm
    approvals with it (attack A292). Source: AWS-2023-001.
    """
    own = isinstance(owner, User) and owner.id == ctx.caller.principal_id
    has_device = ctx.tx.count(MfaDevice, account=ctx.account, owner_id=owner.id) or ctx.tx.count(
        Passkey, user_id=owner.id
    )
    if own and has_device and not is_recent(ctx.caller.mfa_at, ctx.now):
        why = "a user who has a device changes its own devices with MFA that is at most 15 minutes old"
        raise faults.denied(ctx.caller.arn, action, resources.of(owner).arn, why)


def _in_step(ctx: WriteContext, device: MfaDevice, p: Params) -> tuple[MfaDevice, bytes]:
    """The device with the clock drift from two consecutive codes, and its seed. Raises INVALID_AUTHENTICATION_CODE.

    Both must be newer than the last two. Whether the token service accepts one of them once is a separate matter.
    """
    seed = open_seed(ctx.sealer, device)
    codes = p["AuthenticationCode1"], p["AuthenticationCode2"]
    step = consecutive_step(seed, *codes, ctx.now, device.drift)
    if step is None or step <= device.paired_step:
        raise DaypassError(ErrorKind.INVALID_AUTHENTICATION_CODE, "Authentication code for device is not valid.")
    updated = replace(device, drift=drift_of(step, ctx.now), paired_step=step + 1, failures=0, locked_until=0)
    return updated, seed


# --- Lists


def list_mfa_devices(ctx: ReadContext, p: Params) -> Answer:
    """The devices of a user, by serial number: virtual devices, and passkeys as IAM shows FIDO security keys."""
    owner = owner_of_call(ctx, p)
    name = owner.name if isinstance(owner, User) else documents.ROOT_NAME
    known = [(device.serial, device.enabled_at) for device in of_owner(ctx, owner.id)]
    if isinstance(owner, User):
        known += [(_fido_serial(owner, key), key.created_at) for key in ctx.tx.find(Passkey, user_id=owner.id)]
    shown, more = page_of(p, "mfa", sorted(known), lambda each: each[0].split(":", 5)[5])
    devices = [{"UserName": name, "SerialNumber": serial, "EnableDate": at} for serial, at in shown]
    return {"MFADevices": devices, **more}


def list_virtual_mfa_devices(ctx: ReadContext, p: Params) -> Answer:
    """The devices of the account, by serial number. Tags are omitted, as in all of IAM's lists."""
    prefix = f"arn:aws:iam::{ctx.account}:mfa"
    wanted = p.get("AssignmentStatus") or "Any"

    def fetch(after: str, limit: int) -> Sequence[MfaDevice]:
        return ctx.tx.find(MfaDevice, order="serial", after=prefix + after, limit=limit, account=ctx.account)

    def keep(device: MfaDevice) -> bool:
        return wanted == "Any" or (device.owner_id is not None) == (wanted == "Assigned")

    devices, more = page(p, f"mfa {wanted}", fetch, _place, keep)
    return {"VirtualMFADevices": [_virtual(ctx, device) for device in devices], **more}


def get_mfa_device(ctx: ReadContext, p: Params) -> Answer:
    device = _device(ctx, p["SerialNumber"])
    if p.get("UserName"):
        _device_of(ctx, owner_of_call(ctx, p), device.serial)
    owner = _owner_of(ctx, device)
    shown: dict[str, Any] = {"SerialNumber": device.serial}
    if owner is not None:
        shown["EnableDate"] = device.enabled_at
        shown["UserName"] = owner.name if isinstance(owner, User) else documents.ROOT_NAME
    return shown


def tagged(ctx: ReadContext, p: Params) -> MfaDevice:
    """The device whose tags are listed or changed."""
    return _device(ctx, p["SerialNumber"])


def of_owner(ctx: ReadContext, owner_id: str) -> list[MfaDevice]:
    """The devices of a user or, by the account's id, of its root."""
    return ctx.tx.find(MfaDevice, order="serial", account=ctx.account, owner_id=owner_id)


def _virtual(ctx: ReadContext, device: MfaDevice) -> dict[str, Any]:
    shown: dict[str, Any] = {"SerialNumber": device.serial}
    owner = _owner_of(ctx, device)
    if owner is not None:
        shown["User"] = documents.user(owner) if isinstance(owner, User) else documents.root_user(owner)
        shown["EnableDate"] = device.enabled_at
    return shown


def _serial(ctx: ReadContext, p: Params) -> str:
    return f"arn:aws:iam::{ctx.account}:mfa{p.get('Path') or '/'}{p['VirtualMFADeviceName']}"


def _place(device: MfaDevice) -> str:
    """Short enough for a marker."""
    return device.serial.partition(":mfa")[2]


def _fido_serial(user: User, passkey: Passkey) -> str:
    """The serial number of a passkey in IAM's operations (IAM API, MFADevice). A credential id can be too long for it."""
    short = hashlib.sha256(passkey.id.encode()).hexdigest()[:32]
    return f"arn:aws:iam::{user.account}{_FIDO}{user.name}/{short}"


def _passkey(ctx: ReadContext, owner: User | Account, serial: str) -> tuple[User, Passkey]:
    if isinstance(owner, User):
        for passkey in ctx.tx.find(Passkey, user_id=owner.id):
            if _fido_serial(owner, passkey) == serial:
                return owner, passkey
    raise faults.not_found(f"MFA Device with serial number {serial} does not exist.")


def _find(ctx: ReadContext, serial: str) -> MfaDevice | None:
    device = ctx.tx.get(MfaDevice, serial=serial)
    return device if device is not None and device.account == ctx.account else None


def _device(ctx: ReadContext, serial: str) -> MfaDevice:
    device = _find(ctx, serial)
    if device is None:
        raise faults.not_found(f"MFA Device with serial number {serial} does not exist.")
    return device


def _device_of(ctx: ReadContext, owner: User | Account, serial: str) -> MfaDevice:
    device = _device(ctx, serial)
    if device.owner_id != owner.id:
        raise faults.not_found("MFA Device invalid for user.")
    return device


def owner_of_call(ctx: ReadContext, p: Params) -> User | Account:
    """The named user or the caller."""
    return find.user_or_caller(ctx, {} if _is_root(ctx, p) else p)


def _owner_of(ctx: ReadContext, device: MfaDevice) -> User | Account | None:
    if device.owner_id is None:
        return None
    kind: type[User | Account] = Account if device.owner_id == device.account else User
    return ctx.tx.get(kind, id=device.owner_id)


# --- What a user has for MFA, as rows: passkeys, virtual devices, recovery codes


RECENT_MS: Final = 900_000
"""People change their own devices only so long after they proved who they are."""
_EVERY: Final = 100_000  # browsers of one user


def is_recent(mfa_at: int, now: int) -> bool:
    """Whether MFA (ms; 0: none) is recent enough to change one's own devices."""
    return bool(mfa_at) and now - mfa_at <= RECENT_MS


def of_user(tx: Reader, user_id: str) -> list[Passkey]:
    """The passkeys of a user, by name."""
    return tx.find(Passkey, user_id=user_id, order="name")


def enabled_devices(tx: Reader, account: str, owner_id: str) -> tuple[str, ...]:
    """The serial numbers of the virtual devices that a user has enabled, sorted."""
    devices = tx.find(MfaDevice, account=account, owner_id=owner_id, order="serial")
    return tuple(device.serial for device in devices if device.enabled_at is not None)


def has_device(tx: Reader, user: User) -> bool:
    """Whether the user has anything that counts as MFA."""
    return bool(tx.count(Passkey, user_id=user.id) or tx.count(MfaDevice, account=user.account, owner_id=user.id))


def take_away(ids: Ids, tx: Tx, caller: Caller, user: User, passkey: Passkey, now: int) -> tuple[CredentialChange, ...]:
    """Deletes a passkey, signs the user out of all browsers but the caller's, and revokes recovery codes that replace no
    device any more. Returns what to announce.
    """
    tx.delete(passkey)
    end_browsers(ids, tx, user, now, but=caller.session.session_id if caller.session is not None else "")
    codes = () if has_device(tx, user) else remove_codes(tx, user)
    return (change_of(passkey, "delete"), *codes)


def remove_all(tx: Tx, user: User) -> tuple[CredentialChange, ...]:
    """Removes the passkeys and recovery codes of a user who leaves. Returns what to announce."""
    known = of_user(tx, user.id)
    for passkey in known:
        tx.delete(passkey)
    return (*(change_of(passkey, "delete") for passkey in known), *remove_codes(tx, user))


def remove_codes(tx: Tx, user: User) -> tuple[CredentialChange, ...]:
    """Revokes the recovery codes of a user. Returns what to announce."""
    recovery_codes = tx.find(RecoveryCode, user_id=user.id)
    for code in recovery_codes:
        tx.delete(code)
    return (codes_change(user, "revoke"),) if recovery_codes else ()


def change_of(passkey: Passkey, change: str) -> CredentialChange:
    """A change of a passkey for event streams, by the types of credentials of CAEP."""
    kind = "fido2-platform" if "internal" in passkey.transports else "fido2-roaming"
    return CredentialChange(passkey.account, passkey.user_id, kind, change, passkey.name)


def codes_change(user: User, change: str) -> CredentialChange:
    """A change of recovery codes for event streams."""
    return CredentialChange(user.account, user.id, "recovery-code", change)


def end_browsers(ids: Ids, tx: Tx, user: User, now: int, *, but: str = "") -> None:
    """Signs the user's browsers out, except the one with the session id `but`."""
    for row in tx.find(BrowserSession, account=user.account, principal_id=user.id, limit=_EVERY):
        if row.session_id != but:
            sign_out(ids, tx, row, now)


# --- The seeds of virtual devices, sealed for their owner -----------------------------------------------------------


def seal_seed(sealer: Sealer, seed: bytes, account: str, owner_id: str | None, serial: str) -> bytes:
    """The associated data: account, owner and device. A seed that is moved to another row does not open."""
    return sealer.seal_secret(seed, account, _bound_to(owner_id, serial))


def open_seed(sealer: Sealer, device: MfaDevice) -> bytes:
    """Raises DaypassError(UNAVAILABLE) when it does not open: its key is not known here, or it was altered."""
    try:
        return sealer.open_secret(device.sealed_seed, device.account, _bound_to(device.owner_id, device.serial))
    except ValueError:
        private = {"reason": "the seed of the device does not open", "serial_number": device.serial}
        raise DaypassError(ErrorKind.UNAVAILABLE, "The MFA device cannot be used now.", private=private) from None


def _bound_to(owner_id: str | None, serial: str) -> str:
    return f"{owner_id or 'nobody'} {serial}"
