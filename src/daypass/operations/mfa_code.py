"""MFA codes in requests: whether one proves that the caller holds its own device, now and for the first time.

Each attempt is one write, in turn with all others of all processes: a code is used up, or a failure is counted, before
anything is told. So a code serves once, guesses cannot run side by side, and while the database is away no code is right.
The answer never tells a wrong code from a used one; while a device is locked its codes are not looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import MfaDevice, Redeemed
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Context
from daypass.domain.totp import matching_step
from daypass.operations.issue import use_up
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Sealer, Tx

_PURPOSE: Final = "totp"
_REMEMBERED_MS: Final = 86_400_000  # far longer than any window or drift would take a code again
MAX_FAILURES: Final = 5
LOCK_MS: Final = 900_000
"""So many wrong codes in a row lock the device for so long: a guesser has about 1.4 chances in a thousand a day."""

_HALF = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
_UNKNOWN = (
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is "
    "valid and associated with this user."
)
_WRONG = "MultiFactorAuthentication failed with invalid MFA one time pass code. "


async def check_mfa(env: Env, call: Call, serial_number: str, token_code: str) -> int:
    """When MFA vouched for this call: its time in ms, or 0 when the request brings no code.

    Raises DaypassError: ACCESS_DENIED in AWS's words for a device that is not the caller's own, and for a wrong, used
    or locked-out code; UNAVAILABLE while the database is away.
    """
    if not serial_number and not token_code:
        return 0
    if not (serial_number and token_code):
        raise _denied(_HALF, "half", serial_number)
    if call.caller.kind not in (PrincipalKind.USER, PrincipalKind.ROOT):
        raise _denied(_UNKNOWN, "caller has no devices", serial_number)

    def change(tx: Tx) -> tuple[bool, Event]:
        device = _own_device(tx, call, serial_number)
        accepted, detail = _attempt(tx, env.sealer, device, token_code, call.now)
        return accepted, served(call, kind=EventType.DIRECTORY_CHANGED, detail={"mfa_device": device.serial, **detail})

    if not await env.journal.write(change):
        raise _denied(_WRONG, "wrong code", serial_number)
    return call.now


def mfa_context(mfa_at: int) -> Context:
    """The keys of a request that brought a right code of its own: MFA is there, and as fresh as can be."""
    return {"aws:multifactorauthpresent": "true", "aws:multifactorauthage": "0"} if mfa_at else {}


# --- One attempt -----------------------------------------------------------------------------------------------------


def _own_device(tx: Reader, call: Call, serial_number: str) -> MfaDevice:
    device = tx.get(MfaDevice, serial=serial_number)
    if device is None or device.account != call.caller.account or device.owner_id != call.caller.principal_id:
        raise _denied(_UNKNOWN, "no such device of the caller", serial_number)
    if call.now < device.locked_until:
        raise _denied(_UNKNOWN, "locked after wrong codes", serial_number)
    return device


def _attempt(tx: Tx, sealer: Sealer, device: MfaDevice, code: str, now: int) -> tuple[bool, dict[str, Any]]:
    """Whether the code is right, and what to say of it on the record. Raises ACCESS_DENIED when it was used before."""
    step = matching_step(open_seed(sealer, device), code, now, device.drift)
    if step is None:
        failures = device.failures + 1
        locked = failures >= MAX_FAILURES
        counted = replace(device, failures=0 if locked else failures, locked_until=now + LOCK_MS if locked else 0)
        tx.replace(counted)
        return False, {"mfa": "wrong code", "failures": failures, "locked_until": counted.locked_until}
    try:
        _redeem(tx, device, step, now)
    except DaypassError as error:
        if error.kind is not ErrorKind.ALREADY_EXISTS:
            raise
        raise _denied(_WRONG, "replay", device.serial) from None
    if device.failures:
        tx.replace(replace(device, failures=0))
    return True, {"mfa": "code accepted", "step": step}


def _redeem(tx: Tx, device: MfaDevice, step: int, now: int) -> None:
    """Uses up the code of a step. Raises ALREADY_EXISTS when it was used before.

    A device of the same name that is made later has another seed, so it starts anew.
    """
    which = hashlib.sha256(f"{device.serial}\n{device.created_at}".encode()).hexdigest()
    use_up(tx, Redeemed(_PURPOSE, f"{which}:{step}", device.account, now, now + _REMEMBERED_MS))


# --- Seeds at rest ---------------------------------------------------------------------------------------------------


def seal_seed(sealer: Sealer, seed: bytes, account: str, owner_id: str | None, serial: str) -> bytes:
    """Bound to account, owner and device: moved to another row it does not open."""
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


def _denied(message: str, reason: str, serial_number: str) -> DaypassError:
    private = {"reason": "mfa", "mfa": reason, "serial_number": serial_number}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private)
