"""Files that only holders of the key-encryption key can read or make: AES-256-GCM under a data key that it wraps.

A file is replaced as a whole. It must never be readable by other users, and never be accepted under another name.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.ports.directory import StoredKey

_MAGIC: Final = b"daypass sealed file 1\n"
_PURPOSE: Final = "sealed-file"  # in place of the ring, in the associated data of the wrapped key
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8
_LENGTH_BYTES: Final = 2


class SealedFileError(Exception):
    """The file is absent, damaged or was sealed for another installation. The message says which."""


class FileSealer:
    """Seals files under one data key for the life of the process.

    Args:
        kek: wraps the data key. It is used once, when the sealer is made.
    """

    def __init__(self, kek: KeyEncryptionKey) -> None:
        material, key_id = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_ID_BYTES)
        wrapped = kek.wrap(_PURPOSE, key_id.hex(), (0, 0, 0), material)
        self._cipher = AESGCM(material)
        self._header = _MAGIC + key_id + len(wrapped).to_bytes(_LENGTH_BYTES, "big") + wrapped

    def write(self, path: Path, content: bytes) -> None:
        """Replaces the file (mode 0600), durably and as a whole. Raises OSError."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, content, self._header + path.name.encode())
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._header + nonce + sealed)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_sealed(path: Path, kek: KeyEncryptionKey) -> bytes:
    """The content of a sealed file. It waits for a key source. Raises SealedFileError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SealedFileError(f"{path} cannot be read: {error.strerror}") from error
    start = len(_MAGIC) + _ID_BYTES
    key_id = data[len(_MAGIC) : start]
    end = start + _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
    header, nonce, sealed = data[:end], data[end : end + _NONCE_BYTES], data[end + _NONCE_BYTES :]
    if not data.startswith(_MAGIC):
        raise SealedFileError(f"{path} is not a sealed file")
    try:
        wrapped = data[start + _LENGTH_BYTES : end]
        kek.learn((wrapped,))
        material = kek.unwrap(StoredKey(_PURPOSE, key_id.hex(), wrapped, 0, 0, 0, 0))
        return AESGCM(material).decrypt(nonce, sealed, header + path.name.encode())
    except KeySourceError as error:
        raise SealedFileError(f"{path} does not open: {error}") from error
    except (RingError, InvalidTag, ValueError):
        raise SealedFileError(f"{path} was altered, or sealed with another key-encryption key") from None
