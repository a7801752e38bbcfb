"""What a user has for MFA, as rows: passkeys, virtual devices, recovery codes. Whoever loses a passkey is signed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daypass.domain.claims import Caller
from daypass.domain.directory import BrowserSession, MfaDevice, Passkey, RecoveryCode, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.ssf import CredentialChange
from daypass.operations.ssf.logout import sign_out
from daypass.ports import Ids, Reader, Tx

if TYPE_CHECKING:
    from daypass.ports import Sealer

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
