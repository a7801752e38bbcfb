"""MFA codes in requests: whether a code proves that the caller has its own device, and was not used before.

Each attempt is one write, serialised with all others in all processes. The code is consumed, or the failure counted,
before the result is returned. Therefore a code works once, guesses cannot run in parallel, and no code is accepted
while the database is unavailable. The response does not distinguish a wrong code from a used one. The codes of a locked
device are not checked.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import MfaDevice, ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind, replaced
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Context
from daypass.domain.totp import matching_step
from daypass.operations.assume.request import consume
from daypass.operations.iam.mfa import open_seed
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Tx

if TYPE_CHECKING:
    from daypass.ports import Sealer

_PURPOSE: Final = "totp"
_REMEMBERED_MS: Final = 86_400_000  # far longer than any window or drift in which a code is valid again
MAX_FAILURES: Final = 5
LOCK_MS: Final = 900_000
"""This many wrong codes in a row lock the device for this long: guessing succeeds about 1.4 times in a thousand a day."""

_HALF = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
_UNKNOWN = (
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is "
    "valid and associated with this user."
)
_WRONG = "MultiFactorAuthentication failed with invalid MFA one time pass code. "


class MfaCode(NamedTuple):
    """A code of the caller's own device. Both are "" when the request has none."""

    serial_number: str = ""
    code: str = ""


NO_CODE: Final = MfaCode()


async def check_mfa(env: Env, call: Call, mfa: MfaCode) -> int:
    """The time (ms) of MFA for this call, or 0 when the request has no code.

    Raises DaypassError: ACCESS_DENIED with AWS's message for a device that is not the caller's own, and for a wrong,
    used or locked-out code; UNAVAILABLE while the database is unavailable.
    """
    serial_number, token_code = mfa
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

    if not await env.journal.write(change, account=call.caller.account):
        raise _denied(_WRONG, "wrong code", serial_number)
    return call.now


def mfa_context(mfa_at: int) -> Context:
    """The keys of a request with a valid code: MFA is present, with age 0."""
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
    """Whether the code is right, and the text for the record. Raises ACCESS_DENIED when it was used before."""
    step = matching_step(open_seed(sealer, device), code, now, device.drift)
    if step is None:
        failures = device.failures + 1
        locked = failures >= MAX_FAILURES
        counted = replace(device, failures=0 if locked else failures, locked_until=now + LOCK_MS if locked else 0)
        tx.replace(counted)
        return False, {"mfa": "wrong code", "failures": failures, "locked_until": counted.locked_until}
    with replaced(ErrorKind.INVALID_IDENTITY_TOKEN, _denied(_WRONG, "replay", device.serial)):
        _redeem(tx, device, step, now)
    if device.failures:
        tx.replace(replace(device, failures=0))
    return True, {"mfa": "code accepted", "step": step}


def _redeem(tx: Tx, device: MfaDevice, step: int, now: int) -> None:
    """Consumes the code of a step. Raises INVALID_IDENTITY_TOKEN when it was used before.

    A later device of the same name has a different seed, so its codes are not affected.
    """
    which = hashlib.sha256(f"{device.serial}\n{device.created_at}".encode()).hexdigest()
    consume(tx, ReplayEntry(_PURPOSE, f"{which}:{step}", device.account, now, now + _REMEMBERED_MS))


def _denied(message: str, reason: str, serial_number: str) -> DaypassError:
    private = {"reason": "mfa", "mfa": reason, "serial_number": serial_number}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private)
