"""Key rings: one for each purpose, each key with its times, wrapped at rest by a key-encryption key.

The next key of a ring is made, and so known everywhere, at least a day before it signs; a key verifies until the
longest session it may have sealed has ended. Key material never appears in a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DAY = 86_400_000
LONGEST_SESSION = 129_600_000  # 36 h, GetSessionToken's cap
_KEY_BYTES = 32


class Ring(StrEnum):
    """What a key is for. No key serves two purposes."""

    SEALING = "sealing"  # session tokens
    DERIVATION = "derivation"  # secret access keys of sessions
    MESSAGE = "message"  # encoded authorization messages
    STORAGE = "storage"  # secrets at rest; verifies for ever, because what it sealed is stored


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A ring key as the database holds it. Times in ms; `id` is 16 hex digits."""

    ring: str
    id: str
    wrapped: bytes
    not_before: int
    sign_until: int
    verify_until: int
    created_at: int


@dataclass(frozen=True, slots=True)
class RingKey:
    id: str
    material: bytes
    not_before: int
    sign_until: int
    verify_until: int

    def __repr__(self) -> str:
        return f"RingKey({self.id})"


class RingError(Exception):
    """The keys are not usable: a wrong key-encryption key, or rows that were altered."""


class KeyEncryptionKey:
    """Wraps ring keys (AES-256-GCM; ring, id and times are its associated data)."""

    def __init__(self, material: bytes) -> None:
        if len(material) != _KEY_BYTES:
            raise RingError("the key-encryption key must be 32 bytes, base64-encoded.")
        self._cipher = AESGCM(material)

    @classmethod
    def from_text(cls, text: str) -> KeyEncryptionKey:
        """From base64, as the environment or a file holds it."""
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError):
            raise RingError("the key-encryption key is not base64.") from None

    @classmethod
    def from_file(cls, path: Path, *, create: bool) -> KeyEncryptionKey:
        """From a file; with `create`, made there (mode 0600) if it is absent. Two processes at once agree on one."""
        if create:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # fails if it is there: the first one wins
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        try:
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise RingError(f"the key-encryption key file {path} cannot be read: {type(error).__name__}.") from None
        return cls.from_text(text)

    def wrap(self, ring: str, key_id: str, times: tuple[int, int, int], material: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, material, _associated(ring, key_id, times))

    def unwrap(self, key: StoredKey) -> bytes:
        times = (key.not_before, key.sign_until, key.verify_until)
        try:
            return self._cipher.decrypt(key.wrapped[:12], key.wrapped[12:], _associated(key.ring, key.id, times))
        except (InvalidTag, ValueError):
            raise RingError(
                f"ring key {key.id} does not open: the key-encryption key is another one, or the row was altered."
            ) from None


def _associated(ring: str, key_id: str, times: tuple[int, int, int]) -> bytes:
    return f"daypass ring key|{ring}|{key_id}|{times[0]}|{times[1]}|{times[2]}".encode()


class KeyRings:
    """All rings of this process: an immutable snapshot, replaced whole by `load`.

    Args:
        fetch: reads every stored key.
        kek: unwraps them.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[StoredKey]]], kek: KeyEncryptionKey) -> None:
        self._fetch = fetch
        self._kek = kek
        self._keys: dict[tuple[str, str], RingKey] = {}
        self._by_ring: dict[str, tuple[RingKey, ...]] = {}
        self._loading: asyncio.Task[None] | None = None

    def adopt(self, stored: Sequence[StoredKey]) -> None:
        """Replaces the snapshot. Raises RingError when one does not open."""
        keys: dict[tuple[str, str], RingKey] = {}
        for key in stored:
            old = self._keys.get((key.ring, key.id))
            keys[key.ring, key.id] = old or RingKey(
                key.id, self._kek.unwrap(key), key.not_before, key.sign_until, key.verify_until
            )
        by_ring: dict[str, list[RingKey]] = {}
        for (ring, _), ring_key in keys.items():
            by_ring.setdefault(ring, []).append(ring_key)
        self._by_ring = {r: tuple(sorted(ks, key=lambda k: (k.not_before, k.id))) for r, ks in by_ring.items()}
        self._keys = keys

    async def load(self) -> None:
        """Reads the keys again; callers at the same time share one read."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        self.adopt(await self._fetch())

    def signing(self, ring: Ring, now: int) -> RingKey:
        """The key that signs now: the newest whose time has come. Raises RingError when there is none."""
        for key in reversed(self._by_ring.get(ring, ())):
            if key.not_before <= now < key.sign_until:
                return key
        raise RingError(f"no {ring} key may sign now; keys are rotated by the running server.")

    def known(self, ring: Ring, key_id: str, now: int) -> RingKey | None:
        """The key of this id if it may still verify, from memory alone."""
        key = self._keys.get((ring, key_id))
        return key if key is not None and now < key.verify_until else None

    async def verifying(self, ring: Ring, key_id: str, now: int) -> RingKey | None:
        """The key of this id; an unknown id causes one coalesced load."""
        if (ring, key_id) not in self._keys:
            await self.load()
        return self.known(ring, key_id, now)


def due(stored: Sequence[StoredKey], kek: KeyEncryptionKey, now: int, rotate_ms: int) -> list[StoredKey]:
    """The keys that must be made now: a first one for each empty ring, and each ring's next one, a day ahead.

    Two processes may do this at once; the store keeps the first key for each (ring, not_before).
    """
    made = []
    for ring in Ring:
        last = max((k for k in stored if k.ring == ring), key=lambda k: k.sign_until, default=None)
        if last is None or last.sign_until <= now:
            made.append(_new(kek, ring, now, now, rotate_ms))
        elif last.sign_until - now <= 2 * DAY:
            made.append(_new(kek, ring, now, last.sign_until - DAY // 2, rotate_ms))
    return made


def _new(kek: KeyEncryptionKey, ring: Ring, now: int, not_before: int, rotate_ms: int) -> StoredKey:
    key_id = secrets.token_hex(8)
    sign_until = not_before + rotate_ms
    verify_until = 2**53 if ring in (Ring.STORAGE, Ring.MESSAGE) else sign_until + LONGEST_SESSION + DAY
    times = (not_before, sign_until, verify_until)
    wrapped = kek.wrap(ring, key_id, times, secrets.token_bytes(_KEY_BYTES))
    return StoredKey(ring, key_id, wrapped, *times, created_at=now)
