"""The sealed cache: sessions on disk that only the holder of a key can read, or change without notice.

AES-256-GCM with the name of the file as associated data, so that the session of one role is not taken for that of another.
It needs `cryptography`. It must never return text that it did not seal.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from daypass.client import state
from daypass.client.profiles import LocalStateError, Unwritable, write_private

_KEY_BYTES, _NONCE_BYTES = 32, 12
_PREFIX = "daypass-sealed-1:"


class Sealed:
    """Seals with the key in a file. `refused` counts files that were changed, or sealed with another key."""

    def __init__(self, key: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher, self._invalid = AESGCM(key), InvalidTag
        self.refused = 0

    def close(self, text: str, name: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), name.encode())
        return _PREFIX + base64.b64encode(sealed).decode("ascii")

    def open(self, sealed: str, name: str) -> str:
        """Raises ValueError."""
        try:
            if not sealed.startswith(_PREFIX):
                raise ValueError("it is not sealed")
            raw = base64.b64decode(sealed.removeprefix(_PREFIX).encode("ascii"), validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode()).decode()
        except (ValueError, self._invalid):
            self.refused += 1
            raise ValueError("it was changed, or sealed with another key") from None


def unsealed_sessions_are_not_kept() -> str:
    """Why the agent has no cache on disk; "" if it has one."""
    try:
        import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401  # whether it is there
    except ImportError:
        return "sessions are not kept on disk: the package cryptography is not installed (the extra agent)"
    return ""


def key_of(path: Path, *, make: bool) -> bytes:
    """The key in a file: 32 bytes in base64. `make`: a missing one is made. Raises LocalStateError."""
    if make and not path.exists():
        write_private(path, base64.b64encode(os.urandom(_KEY_BYTES)).decode("ascii") + "\n")
    try:
        key = base64.b64decode(state.read_own(str(path)).strip().encode("ascii"), validate=True)
    except OSError as error:
        raise LocalStateError(f"The key of the cache, {path}, cannot be read: {error.strerror}.") from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise LocalStateError(f"The key of the cache, {path}, is not 32 bytes in base64.")
    return key


class NoCache:
    """Keeps sessions in memory alone."""

    def close(self, *_: str) -> str:
        raise Unwritable("the package cryptography is not installed (the extra agent)")

    def open(self, *_: str) -> str:
        raise ValueError("the key is missing")
