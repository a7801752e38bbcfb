"""Key rings: one for each purpose, each key with its times, wrapped at rest by a key-encryption key.

The next key of a ring is made, and so known everywhere, at least a day before it signs; a key verifies until the
longest session it may have sealed has ended. Key material never appears in a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from daypass.domain.session import LONGEST_SESSION_MS
from daypass.sigv4.mac import Mac

DAY = 86_400_000
FOR_EVER = 2**53
_KEY_BYTES = 32
_RELOAD_PAUSE = 0.05  # seconds between two reloads, so that made-up key ids cannot keep the database busy
_ABSENT_MS = 10_000  # how long an id that the database did not have is not asked for again
_MAX_ABSENT = 4096


class Ring(StrEnum):
    """What a key is for. No key serves two purposes."""

    SEALING = "sealing"  # session tokens
    DERIVATION = "derivation"  # secret access keys of sessions
    SIGNING = "signing"  # JWTs: an ES256 private key, PKCS #8 DER
    MESSAGE = "message"  # encoded authorization messages; verifies for ever, because the record keeps them
    STORAGE = "storage"  # secrets at rest; verifies for ever, because what it sealed is stored

    __hash__ = str.__hash__  # the enumeration's own runs Python code at every look-up


_FOR_EVER = frozenset({Ring.STORAGE, Ring.MESSAGE})


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A ring key as the database holds it. Times in ms; `id` is 16 hex digits."""

    ring: str
    id: str
    wrapped: bytes = field(repr=False)
    not_before: int
    sign_until: int
    verify_until: int
    created_at: int


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


class RingError(Exception):
    """The keys are not usable: a wrong key-encryption key, altered rows, none that may sign, or none to be read."""


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
        except ValueError:
            raise RingError("the key-encryption key is not base64.") from None

    @classmethod
    def from_file(cls, path: Path, *, create: bool) -> KeyEncryptionKey:
        """From a file; with `create`, made there (mode 0600) if it is absent. Two processes at once agree on one.

        Raises RingError when it cannot be read, others may write it, or (with `create`) others may read it.
        """
        if create and not path.exists():
            _create_key_file(path)
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise RingError(f"the key-encryption key file {path} cannot be read: {type(error).__name__}.") from None
        if mode & (0o077 if create else 0o022):
            raise RingError(f"the key-encryption key file {path} is open to others: chmod 600 it.")
        return cls.from_text(text)

    def wrap(self, ring: str, key_id: str, times: tuple[int, int, int], material: bytes) -> bytes:
        """Times are not_before, sign_until, verify_until."""
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, material, _associated(ring, key_id, times))

    def unwrap(self, key: StoredKey) -> bytes:
        """Raises RingError when the key was wrapped by another, or anything in its row was altered."""
        times = (key.not_before, key.sign_until, key.verify_until)
        try:
            return self._cipher.decrypt(key.wrapped[:12], key.wrapped[12:], _associated(key.ring, key.id, times))
        except (InvalidTag, ValueError):
            raise RingError(
                f"ring key {key.id} does not open: the key-encryption key is another one, or the row was altered."
            ) from None


def _create_key_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)  # fails if it is there: the first one wins
    finally:
        draft.unlink()


def _associated(ring: str, key_id: str, times: tuple[int, int, int]) -> bytes:
    return f"daypass ring key|{ring}|{key_id}|{times[0]}|{times[1]}|{times[2]}".encode()


class KeyRings:
    """All rings of this process: an immutable snapshot, replaced whole by `load`.

    Args:
        fetch: reads every stored key.
        kek: unwraps them.
        reload_pause: seconds between two reloads, at least.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[StoredKey]]],
        kek: KeyEncryptionKey,
        reload_pause: float = _RELOAD_PAUSE,
    ) -> None:
        self._fetch = fetch
        self._kek = kek
        self._pause = reload_pause
        self._keys: dict[tuple[str, str], RingKey] = {}
        self._by_ring: dict[str, list[RingKey]] = {}  # the newest first
        self._absent: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._running: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._ended = 0.0
        self.unreadable: tuple[str, ...] = ()  # ids of the rows that the last snapshot had to leave out

    def adopt(self, stored: Sequence[StoredKey]) -> None:
        """Replaces the snapshot. A row that does not open is left out, and named in `unreadable`: one bad row must not
        take the other keys away. A server refuses to start over it.
        """
        keys: dict[tuple[str, str], RingKey] = {}
        unreadable = []
        for key in stored:
            old = self._keys.get((key.ring, key.id))
            times = (key.not_before, key.sign_until, key.verify_until)
            if old is not None and times == (old.not_before, old.sign_until, old.verify_until):
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
        self.unreadable = tuple(unreadable)

    async def load(self) -> None:
        """Reads the keys again. Callers share a read, but only one that began after they called: an earlier one may
        have missed what they are looking for. Raises RingError when the keys cannot be read.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._load(self._running))
            self._waiting.add_done_callback(_retrieve)
        await asyncio.shield(self._waiting)

    async def _load(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, self._ended + self._pause - clock()) if self._ended else 0.0)
        self._running, self._waiting = self._waiting, None
        try:
            self.adopt(await self._fetch())
        except Exception as error:
            raise RingError(f"the ring keys cannot be read: {type(error).__name__}.") from error
        finally:
            self._ended = clock()

    async def maintain(
        self, insert: Callable[[StoredKey], Awaitable[bool]], now: int, rotate_ms: int
    ) -> tuple[StoredKey, ...]:
        """Makes the keys that are due, and learns those that others made. Call it at start and every hour or so.

        `insert` stores a key, or returns False because its ring already has one of that not_before: then the first
        one stays, and is read back here. Returns those that were stored, for the record.
        """
        stored = await self._fetch()
        made = [key for key in due(stored, self._kek, now, rotate_ms) if await insert(key)]
        await self.load()
        return tuple(made)

    def signing(self, ring: Ring, now: int) -> RingKey:
        """The key that signs now: the newest whose time has come. Raises RingError when there is none."""
        for key in self._by_ring.get(ring, ()):
            if key.not_before <= now < key.sign_until:
                return key
        raise RingError(f"no {ring} key may sign now; keys are rotated by the running server.")

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


def _retrieve(task: asyncio.Task[None]) -> None:
    """Every caller may have gone; an exception that nobody fetched would be logged as a bug."""
    if not task.cancelled():
        task.exception()


def due(stored: Sequence[StoredKey], kek: KeyEncryptionKey, now: int, rotate_ms: int) -> list[StoredKey]:
    """The keys that must be made now: a first one for each empty ring, and each ring's next one, a day ahead.

    Two processes may do this at once; the store keeps the first key for each (ring, not_before). So that both mean
    the same key, a first one begins with the day, and a next one at a time reckoned from its predecessor's.
    """
    made = []
    for ring in Ring:
        last = max((k for k in stored if k.ring == ring), key=lambda k: k.sign_until, default=None)
        if last is None or last.sign_until <= now:
            not_before = max(now - now % DAY, last.sign_until if last else 0)
            made.append(_new(kek, ring, now, not_before, now + rotate_ms))
        elif last.sign_until - now <= 2 * DAY:
            not_before = last.sign_until - DAY // 2
            made.append(_new(kek, ring, now, not_before, not_before + rotate_ms))
    return made


def _new(kek: KeyEncryptionKey, ring: Ring, now: int, not_before: int, sign_until: int) -> StoredKey:
    key_id = secrets.token_hex(8)
    verify_until = FOR_EVER if ring in _FOR_EVER else sign_until + LONGEST_SESSION_MS + DAY
    times = (not_before, sign_until, verify_until)
    wrapped = kek.wrap(ring, key_id, times, _material(ring))
    return StoredKey(ring, key_id, wrapped, *times, created_at=now)


def _material(ring: Ring) -> bytes:
    if ring is not Ring.SIGNING:
        return secrets.token_bytes(_KEY_BYTES)
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
