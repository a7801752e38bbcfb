"""Signs the batches of the local spool with HMAC-SHA256 (RFC 2104) and a key of their own ring."""

from __future__ import annotations

from hmac import compare_digest

from daypass.crypto.keys import KeyRings, Ring
from daypass.ports import Clock


class SpoolSigner:
    """Implements `audit.spool.BatchSigner` over the rings. It may be used from any thread: it only reads the current
    snapshot of the rings.
    """

    def __init__(self, rings: KeyRings, clock: Clock) -> None:
        self._rings = rings
        self._clock = clock

    def sign(self, data: bytes) -> tuple[str, bytes]:
        """Key id and signature. Raises LookupError when there is no key."""
        key = self._rings.latest(Ring.SPOOL, self._clock.now())
        if key is None:
            raise LookupError("there is no key for the spool")
        return key.id, key.mac.digest(data)

    def verify(self, key_id: str, data: bytes, signature: bytes) -> bool:
        """Whether the signature is genuine. Raises LookupError when the key is not known here."""
        key = self._rings.known(Ring.SPOOL, key_id, self._clock.now())
        if key is None:
            raise LookupError("the key is not known")
        return compare_digest(key.mac.digest(data), signature)
