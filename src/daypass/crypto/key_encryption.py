"""The key-encryption key, which wraps ring keys at rest: held here (a file, a setting), or by a key source.

A key source is an HSM or a key service whose key never leaves it. It wraps a data key, and the data key wraps the ring
keys. Each wrapped value has its wrapped data key in front, so nothing else is stored. Key material never appears in a
repr, a log or an error.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports.directory import StoredKey

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ENVELOPE: Final = b"daypass envelope 1\n"
_LENGTH_BYTES: Final = 2


class RingError(Exception):
    """The keys are not usable: wrong key-encryption key, altered rows, no key that may sign, or keys that cannot be
    read.
    """


def unavailable(error: RingError) -> DaypassError:
    """The refusal of what needs a key that is not usable now."""
    return DaypassError(ErrorKind.UNAVAILABLE, "The service is unavailable.", private={"reason": str(error)})


class KeySourceError(RingError):
    """A key source has failed. `temporary`: a later attempt may succeed."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


class KeySource(Protocol):
    """A key that never leaves its device or service. Both methods block, for a bounded time."""

    kind: str  # which sort of source, as the stored values name it
    name: str  # the key and where it is, for messages. Without secrets

    def wrap(self, data_key: bytes) -> bytes:
        """Encrypts a data key. Raises KeySourceError."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypts what `wrap` returned. Raises KeySourceError."""
        ...


class _Part(Protocol):
    """One key-encryption key."""

    def seal(self, material: bytes, associated: bytes) -> bytes: ...

    def open(self, sealed: bytes, associated: bytes) -> bytes | None: ...

    def learn(self, sealed: Sequence[bytes]) -> KeySourceError | None: ...

    def check(self) -> None: ...


class _LocalKey:
    """A key in memory."""

    def __init__(self, material: bytes) -> None:
        if len(material) != _KEY_BYTES:
            raise RingError("the key-encryption key must be 32 bytes, base64-encoded.")
        self._cipher = AESGCM(material)

    def seal(self, material: bytes, associated: bytes) -> bytes:
        return _encrypt(self._cipher, material, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        return _decrypt(self._cipher, sealed, associated)

    def learn(self, sealed: Sequence[bytes]) -> None:
        """Nothing: `open` needs no data key."""

    def check(self) -> None:
        """Nothing: it is here."""


class _SourceKey:
    """A key of a key source, and the data keys that it has opened."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._data_keys: dict[bytes, AESGCM] = {}
        self._header = b""  # of the data key that seals
        self._lock = threading.Lock()

    def seal(self, material: bytes, associated: bytes) -> bytes:
        """Asks the source only when there is no data key yet. Raises KeySourceError."""
        with self._lock:
            if not self._header:
                data_key = secrets.token_bytes(_KEY_BYTES)
                self._header = _header(self._source.kind, self._source.wrap(data_key))
                self._data_keys[self._header] = AESGCM(data_key)
            header = self._header
        return header + _encrypt(self._data_keys[header], material, header + associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        header = _header_of(sealed)
        cipher = self._data_keys.get(header)
        return None if cipher is None else _decrypt(cipher, sealed[len(header) :], header + associated)

    def learn(self, sealed: Sequence[bytes]) -> KeySourceError | None:
        """Has the source open the data keys of these values. The last one seals from now on. Returns a failure, because
        another source of the same kind may open the rest.
        """
        failure = None
        with self._lock:
            for header in dict.fromkeys(map(_header_of, sealed)):
                kind, wrapped = _parts(header)
                if kind != self._source.kind:
                    continue
                try:
                    if header not in self._data_keys:
                        self._data_keys[header] = self._opened(wrapped)
                    self._header = header
                except KeySourceError as error:
                    failure = error
        return failure

    def check(self) -> None:
        """Has the source open the data key that seals once more. Raises KeySourceError."""
        if self._header:
            self._opened(_parts(self._header)[1])

    def _opened(self, wrapped: bytes) -> AESGCM:
        data_key = self._source.unwrap(wrapped)
        if len(data_key) != _KEY_BYTES:
            raise KeySourceError(f"{self._source.name} has opened something that is not a data key.", temporary=False)
        return AESGCM(data_key)


class KeyEncryptionKey:
    """Wraps ring keys (AES-256-GCM; ring, id and times are its associated data).

    It may also unwrap what other key-encryption keys have wrapped (`accepting`), so that a new one can be introduced
    while servers run. With a key source, `learn` comes before `unwrap`, on a thread that may wait.
    """

    def __init__(self, key: bytes | KeySource) -> None:
        """`key`: 32 bytes, or a key source, which is not asked for anything yet."""
        self._parts: tuple[_Part, ...] = (_LocalKey(key) if isinstance(key, bytes) else _SourceKey(key),)

    def accepting(self, others: Sequence[KeyEncryptionKey]) -> KeyEncryptionKey:
        """This key, which also unwraps what `others` have wrapped."""
        combined = copy(self)
        combined._parts = (*self._parts, *(part for other in others for part in other._parts))  # noqa: SLF001  # of the same class
        return combined

    @classmethod
    def from_text(cls, text: str) -> KeyEncryptionKey:
        """Parses base64, as the environment or a file holds it."""
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except ValueError:
            raise RingError("the key-encryption key is not base64.") from None

    @classmethod
    def from_file(cls, path: Path, *, create: bool = False, private: bool = False) -> KeyEncryptionKey:
        """Reads a file; with `create`, makes it (mode 0600) if it is absent. Two processes at once agree on one.

        Raises RingError when it cannot be read or made, others may write it, or (with `private`) others may read it.
        """
        if create and not path.exists():
            try:
                _create_key_file(path)
            except OSError as error:
                raise RingError(f"the key-encryption key file {path} cannot be made: {error.strerror}.") from error
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise RingError(f"the key-encryption key file {path} cannot be read: {type(error).__name__}.") from None
        if mode & (0o077 if private else 0o022):
            raise RingError(f"the key-encryption key file {path} is open to others: chmod 600 it.")
        return cls.from_text(text)

    def learn(self, wrapped: Iterable[bytes]) -> None:
        """Has key sources open the data keys that these values need; without a key source, nothing happens. Blocks.

        Raises KeySourceError when a data key could not be opened; the others are opened nevertheless.
        """
        values = tuple(wrapped)
        failures = [failure for part in self._parts if (failure := part.learn(values)) is not None]
        if failures and not all(self._knows(value) for value in values):
            raise next((failure for failure in failures if failure.temporary), failures[0])

    def prove(self) -> None:
        """Seals something, so that an unusable key source shows itself. Blocks. Raises KeySourceError."""
        self._parts[0].seal(b"", b"proof")

    def check(self) -> None:
        """Has every key source open a data key, as the next start will. Blocks. Raises KeySourceError."""
        for part in self._parts:
            part.check()

    def wrap(self, ring: str, key_id: str, times: tuple[int, int, int], material: bytes) -> bytes:
        """Times are not_before, sign_until, verify_until. The first call with a key source blocks, unless `learn` has
        found a data key. Raises KeySourceError.
        """
        return self._parts[0].seal(material, _associated(ring, key_id, times))

    def unwrap(self, key: StoredKey) -> bytes:
        """Raises RingError when the key was wrapped by another key-encryption key, its row was altered, or `learn` has
        not opened its data key.
        """
        associated = _associated(key.ring, key.id, (key.not_before, key.sign_until, key.verify_until))
        for part in self._parts:
            material = part.open(key.wrapped, associated)
            if material is not None:
                return material
        raise RingError(
            f"ring key {key.id} does not open: the key-encryption key is another one, or the row was altered."
        )

    def _knows(self, value: bytes) -> bool:
        header = _header_of(value)
        return not header or any(isinstance(p, _SourceKey) and header in p._data_keys for p in self._parts)  # noqa: SLF001  # of this module


def _encrypt(cipher: AESGCM, content: bytes, associated: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, associated)


def _decrypt(cipher: AESGCM, sealed: bytes, associated: bytes) -> bytes | None:
    with suppress(InvalidTag, ValueError):
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
    return None


def _header(kind: str, wrapped: bytes) -> bytes:
    """The header of a value that a data key has sealed: the kind of source, and the wrapped data key."""
    parts = (kind.encode(), wrapped)
    return _ENVELOPE + b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)


def _header_of(sealed: bytes) -> bytes:
    """The header of a value; b"" if it has none, or none that is complete."""
    if not sealed.startswith(_ENVELOPE):
        return b""
    end = len(_ENVELOPE)
    for _ in range(2):
        end += _LENGTH_BYTES + int.from_bytes(sealed[end : end + _LENGTH_BYTES], "big")
    return sealed[:end] if end <= len(sealed) else b""


def _parts(header: bytes) -> tuple[str, bytes]:
    """Kind and wrapped data key of a header; ("", b"") for b""."""
    if not header:
        return "", b""
    start = len(_ENVELOPE) + _LENGTH_BYTES
    length = int.from_bytes(header[len(_ENVELOPE) : start], "big")
    return header[start : start + length].decode("ascii", "replace"), header[start + length + _LENGTH_BYTES :]


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
            os.link(draft, path)  # fails if it exists: only the first creates it
    finally:
        draft.unlink()


def _associated(ring: str, key_id: str, times: tuple[int, int, int]) -> bytes:
    return f"daypass ring key|{ring}|{key_id}|{times[0]}|{times[1]}|{times[2]}".encode()
