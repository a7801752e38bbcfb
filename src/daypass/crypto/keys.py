"""Key rings: one for each purpose, each key with its times, wrapped at rest by a key-encryption key.

The next key of a ring is made, and so known everywhere, at least a day before it signs; a key verifies until the
longest session it may have sealed has ended. Key material never appears in a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.domain.session import LONGEST_SESSION_MS
from daypass.ports.clock import Clock
from daypass.ports.directory import FOR_EVER, StoredKey
from daypass.scheduling.buckets import Coalesced
from daypass.sigv4.canonical import Mac

DAY = 86_400_000
_KEY_BYTES = 32
_RELOAD_PAUSE = 0.05  # seconds between two reloads, so that made-up key ids cannot keep the database busy
_ABSENT_MS = 10_000  # how long an id missing in the database is not looked up again
_MAX_ABSENT = 4096
_SOURCE_PAUSE = 10.0  # seconds after a failure of the key source in which it is not asked again


class Ring(StrEnum):
    """The purpose of a key. No key serves two."""

    SEALING = "sealing"  # session tokens
    DERIVATION = "derivation"  # secret access keys of sessions
    SIGNING = "signing"  # JWTs by ES256: a private key, PKCS #8 DER, as in the next three rings
    SIGNING_EDDSA = "signing-eddsa"  # JWTs by EdDSA (Ed25519)
    SIGNING_RS256 = "signing-rs256"  # JWTs by RS256 (2,048 bits)
    SIGNING_ES384 = "signing-es384"  # JWTs by ES384
    CERTIFICATES = "certificates"  # SSH and database certificates: the seed of each account's authorities
    MESSAGE = "message"  # encoded authorization messages; verifies forever, because the record stores them
    SPOOL = "spool"  # batches of the local spool; verifies forever, because a spool may be drained late
    STORAGE = "storage"  # secrets at rest; verifies forever, because the sealed secrets are stored

    __hash__ = str.__hash__  # the enumeration's own runs Python code at every look-up


SIGNING_RINGS: Final = frozenset({Ring.SIGNING, Ring.SIGNING_EDDSA, Ring.SIGNING_RS256, Ring.SIGNING_ES384})
_PUBLISHED = SIGNING_RINGS | {Ring.CERTIFICATES}
_FOR_EVER = frozenset({Ring.STORAGE, Ring.MESSAGE, Ring.SPOOL})

ALWAYS: Final = tuple(ring for ring in Ring if ring not in (Ring.SIGNING_RS256, Ring.SIGNING_ES384))
"""The rings of every installation. The others are there only where settings ask for them; RSA keys take long to make."""


@dataclass(frozen=True, slots=True)
class RingKey:
    id: str
    material: bytes = field(repr=False)
    not_before: int
    sign_until: int
    verify_until: int
    mac: Mac = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mac", Mac(self.material))


class KeyRings:
    """All rings of this process: an immutable snapshot, replaced whole by `load`.

    Args:
        reload_pause: seconds between two reloads, at least.
        rings: those that `maintain` makes keys for; keys of others are read too, because they may still verify.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[StoredKey]]],
        kek: KeyEncryptionKey,
        reload_pause: float = _RELOAD_PAUSE,
        rings: Collection[Ring] = ALWAYS,
    ) -> None:
        self._fetch = fetch
        self._kek = kek
        self._rings = tuple(rings)
        self._keys: dict[tuple[str, str], RingKey] = {}
        self._by_ring: dict[str, list[RingKey]] = {}  # the newest first
        self._absent: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._loads = Coalesced(self._load, reload_pause)
        self._source_failure: tuple[float, KeySourceError | None] = (0.0, None)  # until when it counts
        self.stored: tuple[StoredKey, ...] = ()  # as they were read, wrapped
        self.unreadable: tuple[str, ...] = ()  # ids of the rows that the last snapshot had to leave out

    def adopt(self, stored: Sequence[StoredKey]) -> None:
        """Replaces the snapshot. A row that cannot be opened is left out and named in `unreadable`, so that one bad row
        does not disable the other keys. A server refuses to start with one. It does not wait for a key source.
        """
        keys: dict[tuple[str, str], RingKey] = {}
        unreadable = []
        for key in stored:
            old = self._keys.get((key.ring, key.id))
            times = (key.not_before, key.sign_until, key.verify_until)
            if old is not None and _same(old, key):
                keys[key.ring, key.id] = old
                continue
            try:
                keys[key.ring, key.id] = RingKey(key.id, self._kek.unwrap(key), *times)
            except RingError:
                unreadable.append(key.id)
        by_ring: dict[str, list[RingKey]] = {}
        for (ring, _), ring_key in keys.items():
            by_ring.setdefault(ring, []).append(ring_key)
        for ring_keys in by_ring.values():
            ring_keys.sort(key=lambda k: (k.not_before, k.id), reverse=True)
        self._by_ring = by_ring
        self._keys = keys
        self.stored = tuple(stored)
        self.unreadable = tuple(unreadable)

    async def load(self) -> None:
        """Reads the keys again. Callers share a read, but only one that began after they called: an earlier one may
        have missed what they are looking for. Raises RingError when the keys cannot be read.
        """
        await self._loads.run()

    async def stop(self) -> None:
        """Cancels a read in progress."""
        await self._loads.stop()

    async def _load(self) -> None:
        try:
            await self._read_again()
        except KeySourceError:
            raise
        except Exception as error:
            raise RingError(f"the ring keys cannot be read: {type(error).__name__}.") from error

    async def _read_again(self) -> None:
        """Reads the keys. One whose data key the key source does not open now is left out. Raises KeySourceError then."""
        stored = await self._fetch()
        unopened = [key for key in stored if not _same(self._keys.get((key.ring, key.id)), key)]
        failure = await self._learn(unopened)
        self.adopt(stored)
        if failure is not None and self.unreadable:
            raise failure

    async def _learn(self, stored: Sequence[StoredKey]) -> KeySourceError | None:
        """See `KeyEncryptionKey.learn`. A failure is returned again for some seconds, without another attempt."""
        if not stored:
            return None
        clock = asyncio.get_running_loop().time
        until, failure = self._source_failure
        if failure is None or clock() >= until:
            try:
                await asyncio.to_thread(self._kek.learn, [key.wrapped for key in stored])
                failure = None
            except KeySourceError as error:
                failure = error
            self._source_failure = (clock() + _SOURCE_PAUSE, failure)
        return failure

    async def maintain(
        self, insert: Callable[[StoredKey], Awaitable[bool]], now: int, rotate_ms: int
    ) -> tuple[StoredKey, ...]:
        """Makes the keys that are due, and loads the keys that other processes made. Call it at start and every hour or
        so.

        `insert` stores a key, or returns False because its ring already has one of that not_before: then the first one
        is kept and read back here. Returns the stored keys, for the record.
        """
        stored = await self._fetch()
        await self._learn(stored)  # so that new keys share the data key; a failure shows itself where keys are needed
        wanted = await asyncio.to_thread(due, stored, self._kek, now, rotate_ms, self._rings)
        keys = [key for key in wanted if await insert(key)]
        await self.load()
        return tuple(keys)

    def signing(self, ring: Ring, now: int) -> RingKey:
        """The key that signs now: the newest whose time has come. Raises RingError when there is none.

        A key whose time to sign is over continues while the longest session that it seals can still be verified: for a
        day. Without the database, no next key can be made (see `overdue`).
        """
        keys = self._by_ring.get(ring, ())
        for key in keys:
            if key.not_before <= now < key.sign_until:
                return key
        for key in keys:
            if key.not_before <= now < key.sign_until + DAY and now + LONGEST_SESSION_MS < key.verify_until:
                return key
        raise RingError(f"no {ring} key may sign now; keys are rotated by the running server.")

    def overdue(self, now: int) -> list[str]:
        """The rings of which no key's time to sign has come and is not over."""
        return [
            ring
            for ring in self._rings
            if not any(k.not_before <= now < k.sign_until for k in self._by_ring.get(ring, ()))
        ]

    def latest(self, ring: Ring, now: int) -> RingKey | None:
        """The newest key whose time has come, also when its time to sign is over: while the database is unavailable,
        no next key can be made.
        """
        return next((key for key in self._by_ring.get(ring, ()) if key.not_before <= now), None)

    def published(self, ring: Ring, now: int) -> tuple[RingKey, ...]:
        """Every key of the ring that may verify now or will sign later, the oldest first."""
        return tuple(key for key in reversed(self._by_ring.get(ring, ())) if now < key.verify_until)

    def known(self, ring: Ring, key_id: str, now: int) -> RingKey | None:
        """The key of this id if it may still verify, from memory alone."""
        key = self._keys.get((ring, key_id))
        return key if key is not None and now < key.verify_until else None

    async def verifying(self, ring: Ring, key_id: str, now: int) -> RingKey | None:
        """The key of this id; an unknown id causes one coalesced load. Raises RingError when that fails."""
        wanted = (ring, key_id)
        if wanted not in self._keys and now >= self._absent.get(wanted, 0):
            await self.load()
            if wanted not in self._keys:
                self._absent[wanted] = now + _ABSENT_MS
                if len(self._absent) > _MAX_ABSENT:
                    self._absent.popitem(last=False)
        return self.known(ring, key_id, now)


def _same(key: RingKey | None, stored: StoredKey) -> bool:
    """Whether this is the stored key, with the same times. Another key-encryption key may wrap it now."""
    times = (stored.not_before, stored.sign_until, stored.verify_until)
    return key is not None and (key.not_before, key.sign_until, key.verify_until) == times


def due(
    stored: Sequence[StoredKey], kek: KeyEncryptionKey, now: int, rotate_ms: int, rings: Collection[Ring] = ALWAYS
) -> list[StoredKey]:
    """The keys that must be made now: a first one for each empty ring, and each ring's next one, a day ahead.

    Two processes may do this at once; the store keeps the first key for each (ring, not_before). So that both mean
    the same key, a first one begins with the day, and a next one at a time reckoned from its predecessor's.
    """
    keys = []
    for ring in rings:
        last = max((k for k in stored if k.ring == ring), key=lambda k: k.sign_until, default=None)
        if last is None or last.sign_until <= now:
            not_before = max(now - now % DAY, last.sign_until if last else 0)
            keys.append(_new(kek, ring, now, not_before, now + rotate_ms))
        elif last.sign_until - now <= 2 * DAY:
            not_before = last.sign_until - DAY // 2
            keys.append(_new(kek, ring, now, not_before, not_before + rotate_ms))
    return keys


def next_keys(
    kek: KeyEncryptionKey, now: int, rotate_ms: int, rings: Collection[Ring], lead_ms: int
) -> list[StoredKey]:
    """A next key of each ring by command. Keys of signing rings begin to sign after `lead_ms`, so that verifiers that
    cache the JWKS or the authorities have them by then; the others sign at once, because an unknown key id causes a load.
    """
    starts = {ring: now + (lead_ms if ring in _PUBLISHED else 0) for ring in rings}
    return [_new(kek, ring, now, start, start + rotate_ms) for ring, start in starts.items()]


def ended_keys(stored: Sequence[StoredKey], kek: KeyEncryptionKey, now: int) -> list[StoredKey]:
    """The keys of sessions and tokens, changed so that they neither sign nor verify after `now`: for an emergency.

    Keys that open stored secrets, messages and spools are not ended. Raises RingError when one does not open.
    """
    keys: list[StoredKey] = []
    for key in stored:
        if key.ring in _FOR_EVER or key.verify_until <= now:
            continue
        # A ring has one key for each not-before time: keys that have not begun get times of their own, before the new one's.
        not_before = key.not_before if key.not_before < now else now - 1 - len(keys)
        times = (not_before, min(key.sign_until, now), now)
        wrapped = kek.wrap(key.ring, key.id, times, kek.unwrap(key))
        keys.append(StoredKey(key.ring, key.id, wrapped, *times, created_at=key.created_at))
    return keys


def rewrapped(stored: Sequence[StoredKey], old: KeyEncryptionKey, new: KeyEncryptionKey) -> list[StoredKey]:
    """Every key, wrapped by `new`. Raises RingError when one does not open."""
    keys = []
    for key in stored:
        times = (key.not_before, key.sign_until, key.verify_until)
        keys.append(replace(key, wrapped=new.wrap(key.ring, key.id, times, old.unwrap(key))))
    return keys


def _new(kek: KeyEncryptionKey, ring: Ring, now: int, not_before: int, sign_until: int) -> StoredKey:
    key_id = secrets.token_hex(8)
    verify_until = FOR_EVER if ring in _FOR_EVER else sign_until + LONGEST_SESSION_MS + DAY
    times = (not_before, sign_until, verify_until)
    wrapped = kek.wrap(ring, key_id, times, _material(ring))
    return StoredKey(ring, key_id, wrapped, *times, created_at=now)


def _material(ring: Ring) -> bytes:
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    if ring is Ring.SIGNING:
        key = ec.generate_private_key(ec.SECP256R1())
    elif ring is Ring.SIGNING_EDDSA:
        key = ed25519.Ed25519PrivateKey.generate()
    elif ring is Ring.SIGNING_RS256:
        key = rsa.generate_private_key(65_537, 2048)
    elif ring is Ring.SIGNING_ES384:
        key = ec.generate_private_key(ec.SECP384R1())
    else:
        return secrets.token_bytes(_KEY_BYTES)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


# --- Signs the batches of the local spool with HMAC-SHA256 (RFC 2104) and a key of their own ring


class SpoolSigner:
    """Signs batches with a key of this installation. It may be used from any thread: it only reads the current
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
