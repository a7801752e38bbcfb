"""The seeds of virtual MFA devices, sealed for their owner."""

from __future__ import annotations

from daypass.domain.directory import MfaDevice
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Sealer


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
