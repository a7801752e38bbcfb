"""Random names: unique ids, access keys, secrets. The one place where they are made (`ports.Ids`)."""

from __future__ import annotations

import base64
import secrets
import uuid

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class RandomIds:
    """Implements `ports.Ids` from the system's randomness."""

    def unique(self, prefix: str) -> str:
        """85 random bits behind the prefix; 21 characters."""
        return prefix + _letters(17)

    def access_key(self, prefix: str) -> str:
        """80 random bits behind the prefix; 20 characters."""
        return prefix + base64.b32encode(secrets.token_bytes(10)).decode("ascii")

    def secret(self) -> str:
        return base64.b64encode(secrets.token_bytes(30)).decode("ascii")

    def session(self) -> str:
        return secrets.token_hex(16)

    def request(self) -> str:
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def _letters(count: int) -> str:
    return "".join(_ALPHABET[byte & 31] for byte in secrets.token_bytes(count))
