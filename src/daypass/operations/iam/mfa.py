"""Virtual MFA devices: made, given to a user or the root, kept in step with their clocks, taken back, deleted.

The seed leaves once, in the answer that makes the device; it is stored sealed for whoever has the device and never shown
again. Enabling takes two codes that follow one another, newer than any two before.
Source: IAM API, "CreateVirtualMFADevice", "EnableMFADevice", "ResyncMFADevice"; IAM User Guide, "Virtual MFA devices".
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from daypass.domain.arn import root_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Account, MfaDevice, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.totp import consecutive_step, drift_of
from daypass.operations.iam import changes, faults, find, quotas, shapes, subjects, tags
from daypass.operations.iam.paging import page, page_of
from daypass.operations.iam.work import Answer, Look, Params, Subject, Work
from daypass.operations.mfa_code import open_seed, seal_seed
from daypass.ports import Ids

ROOT: Final = "root"
"""The UserName by which the root speaks of its own device, where the model wants a name; an IAM user of it goes first."""
_MAX_SERIAL: Final = 256  # serialNumberType of the service model
_SCALE: Final = 5  # pixels for each module of the QR code


# --- What is acted on


def device_subject(look: Look, p: Params) -> Subject:
    """A device by its serial number, which is its ARN."""
    found = look.tx.get(MfaDevice, serial=p["SerialNumber"])
    tagged = found.tags if found is not None and found.account == look.account else ()
    return Subject(p["SerialNumber"], tags=tagged)


def new_subject(look: Look, p: Params) -> Subject:
    return Subject(_serial(look, p))


def all_subject(look: Look, _p: Params) -> Subject:
    return Subject(f"arn:aws:iam::{look.account}:mfa/")


def owner_subject(look: Look, p: Params) -> Subject:
    """The user who is to have the device, has it, or is asked about; by default the caller."""
    return Subject(root_arn(look.account)) if _is_root(look, p) else subjects.user_or_caller(look, p)


def shown_subject(look: Look, p: Params) -> Subject:
    """Whose device it is; the device itself when it is nobody's."""
    if p.get("UserName"):
        return owner_subject(look, p)
    found = _find(look, p["SerialNumber"])
    owner = _owner_of(look, found) if found is not None else None
    return subjects.of(owner) if owner is not None else device_subject(look, p)


def _is_root(look: Look, p: Params) -> bool:
    named = p.get("UserName") == ROOT and look.caller.kind is PrincipalKind.ROOT
    return named and look.tx.get(User, account=look.account, name=ROOT) is None


# --- Making one


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A seed and its picture; drawing takes milliseconds, so it is done before the write."""

    seed: bytes
    text: bytes  # 64 letters and digits (RFC 4648, base 32)
    png: bytes


def draw(look: Look, p: Params, ids: Ids) -> _Drawn:
    """A new seed, and the QR code of it that authenticator apps read."""
    import segno  # noqa: PLC0415  # seldom needed

    if len(_serial(look, p)) > _MAX_SERIAL:  # a QR code does not hold any name
        raise faults.invalid_input(f"The serial number of the device would be longer than {_MAX_SERIAL} characters.")
    seed = ids.seed()
    text = base64.b32encode(seed)
    label = quote(f"{p['VirtualMFADeviceName']}@{look.account}")
    code = segno.make(f"otpauth://totp/{label}?secret={text.decode()}&issuer=Daypass", error="m", micro=False)
    png = io.BytesIO()
    code.save(png, kind="png", scale=_SCALE)
    return _Drawn(seed, text, png.getvalue())


def create_virtual_mfa_device(work: Work, p: Params) -> Answer:
    serial = _serial(work, p)
    changes.within_quota(work, MfaDevice, "MFADevicesPerAccount", quotas.USERS_PER_ACCOUNT, account=work.account)
    drawn: _Drawn = work.gathered
    device = MfaDevice(
        account=work.account,
        serial=serial,
        name=p["VirtualMFADeviceName"],
        path=p.get("Path") or "/",
        created_at=work.now,
        sealed_seed=seal_seed(work.sealer, drawn.seed, work.account, None, serial),
        tags=tags.first_exact(p),
    )
    taken = DaypassError(ErrorKind.ALREADY_EXISTS, "MFA device already exists.")
    changes.insert(work, device, taken)
    shown: dict[str, Any] = {"SerialNumber": serial, "Base32StringSeed": drawn.text, "QRCodePNG": drawn.png}
    if device.tags:
        shown["Tags"] = shapes.tags(device.tags)
    return {"VirtualMFADevice": shown}


def delete_virtual_mfa_device(work: Work, p: Params) -> Answer:
    device = _device(work, p["SerialNumber"])
    if device.owner_id is not None:
        raise faults.delete_conflict("MFA VirtualDevice in use. Must deactivate first.")
    work.tx.delete(device)
    return {}


# --- Whose it is


def enable_mfa_device(work: Work, p: Params) -> Answer:
    owner = _owner(work, p)
    _refuse_own_without_mfa(work, owner, "iam:EnableMFADevice")
    device = _device(work, p["SerialNumber"])
    if device.owner_id is not None:
        raise DaypassError(ErrorKind.ALREADY_EXISTS, "MFA Device is already in use.")
    changes.within_quota(work, MfaDevice, "MFADevicesPerUser", quotas.MFA_DEVICES_PER_USER, owner_id=owner.id)
    told, seed = _in_step(work, device, p)
    sealed = seal_seed(work.sealer, seed, work.account, owner.id, device.serial)
    work.tx.replace(replace(told, owner_id=owner.id, enabled_at=work.now, sealed_seed=sealed))
    return {}


def resync_mfa_device(work: Work, p: Params) -> Answer:
    """Learns anew how far off the device's clock is. A lock after wrong codes ends with it."""
    device = _device_of(work, _owner(work, p), p["SerialNumber"])
    told, _ = _in_step(work, device, p)
    work.tx.replace(told)
    return {}


def deactivate_mfa_device(work: Work, p: Params) -> Answer:
    """The device stays, and is nobody's."""
    owner = _owner(work, p)
    _refuse_own_without_mfa(work, owner, "iam:DeactivateMFADevice")
    device = _device_of(work, owner, p["SerialNumber"])
    seed = open_seed(work.sealer, device)
    freed = seal_seed(work.sealer, seed, work.account, None, device.serial)
    work.tx.replace(replace(device, owner_id=None, enabled_at=None, sealed_seed=freed))
    return {}


def _refuse_own_without_mfa(work: Work, owner: User | Account, action: str) -> None:
    """A user who has a device adds and removes its own only in a session that one of them vouches for.

    Else whoever steals a key could put a device of its own in place of the user's. Source: AWS-2023-001.
    """
    own = isinstance(owner, User) and owner.id == work.caller.principal_id
    if own and not work.caller.mfa_at and work.tx.count(MfaDevice, account=work.account, owner_id=owner.id):
        raise faults.denied(work.caller.arn, action, subjects.of(owner).arn)


def _in_step(work: Work, device: MfaDevice, p: Params) -> tuple[MfaDevice, bytes]:
    """The device with what two codes in a row tell of its clock, and its seed. Raises INVALID_AUTHENTICATION_CODE.

    Both must be newer than the last two. Whether one of them also serves the token service once is another matter.
    """
    seed = open_seed(work.sealer, device)
    codes = p["AuthenticationCode1"], p["AuthenticationCode2"]
    step = consecutive_step(seed, *codes, work.now, device.drift)
    if step is None or step <= device.paired_step:
        raise DaypassError(ErrorKind.INVALID_AUTHENTICATION_CODE, "Authentication code for device is not valid.")
    told = replace(device, drift=drift_of(step, work.now), paired_step=step + 1, failures=0, locked_until=0)
    return told, seed


# --- Looking


def list_mfa_devices(look: Look, p: Params) -> Answer:
    """Those of a user, by serial number."""
    owner = _owner(look, p)
    name = owner.name if isinstance(owner, User) else ROOT
    shown, more = page_of(p, "mfa", of_owner(look, owner.id), _place)
    devices = [{"UserName": name, "SerialNumber": d.serial, "EnableDate": d.enabled_at} for d in shown]
    return {"MFADevices": devices, **more}


def list_virtual_mfa_devices(look: Look, p: Params) -> Answer:
    """Those of the account, by serial number. Tags are left out, as in all of IAM's lists."""
    prefix = f"arn:aws:iam::{look.account}:mfa"
    wanted = p.get("AssignmentStatus") or "Any"

    def fetch(after: str, limit: int) -> Sequence[MfaDevice]:
        return look.tx.find(MfaDevice, order="serial", after=prefix + after, limit=limit, account=look.account)

    def keep(device: MfaDevice) -> bool:
        return wanted == "Any" or (device.owner_id is not None) == (wanted == "Assigned")

    devices, more = page(p, f"mfa {wanted}", fetch, _place, keep)
    return {"VirtualMFADevices": [_virtual(look, device) for device in devices], **more}


def get_mfa_device(look: Look, p: Params) -> Answer:
    device = _device(look, p["SerialNumber"])
    if p.get("UserName"):
        _device_of(look, _owner(look, p), device.serial)
    owner = _owner_of(look, device)
    shown: dict[str, Any] = {"SerialNumber": device.serial}
    if owner is not None:
        shown["EnableDate"] = device.enabled_at
        shown["UserName"] = owner.name if isinstance(owner, User) else ROOT
    return shown


def tagged(look: Look, p: Params) -> MfaDevice:
    """The device whose tags are asked for or changed."""
    return _device(look, p["SerialNumber"])


def of_owner(look: Look, owner_id: str) -> list[MfaDevice]:
    """The devices that a user, or by the account's id its root, has."""
    return look.tx.find(MfaDevice, order="serial", account=look.account, owner_id=owner_id)


def _virtual(look: Look, device: MfaDevice) -> dict[str, Any]:
    shown: dict[str, Any] = {"SerialNumber": device.serial}
    owner = _owner_of(look, device)
    if owner is not None:
        shown["User"] = shapes.user(owner) if isinstance(owner, User) else shapes.root_user(owner)
        shown["EnableDate"] = device.enabled_at
    return shown


def _serial(look: Look, p: Params) -> str:
    return f"arn:aws:iam::{look.account}:mfa{p.get('Path') or '/'}{p['VirtualMFADeviceName']}"


def _place(device: MfaDevice) -> str:
    """Short enough for a marker."""
    return device.serial.partition(":mfa")[2]


def _find(look: Look, serial: str) -> MfaDevice | None:
    found = look.tx.get(MfaDevice, serial=serial)
    return found if found is not None and found.account == look.account else None


def _device(look: Look, serial: str) -> MfaDevice:
    found = _find(look, serial)
    if found is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"MFA Device with serial number {serial} does not exist.")
    return found


def _device_of(look: Look, owner: User | Account, serial: str) -> MfaDevice:
    found = _device(look, serial)
    if found.owner_id != owner.id:
        raise DaypassError(ErrorKind.NOT_FOUND, "MFA Device invalid for user.")
    return found


def _owner(look: Look, p: Params) -> User | Account:
    """The named user or the caller."""
    return find.user_or_caller(look, {} if _is_root(look, p) else p)


def _owner_of(look: Look, device: MfaDevice) -> User | Account | None:
    if device.owner_id is None:
        return None
    kind: type[User | Account] = Account if device.owner_id == device.account else User
    return look.tx.get(kind, id=device.owner_id)
