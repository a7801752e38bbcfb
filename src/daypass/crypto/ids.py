"""Random names: unique ids, access keys, secrets. The one place where they are made (`ports.Ids`)."""

from __future__ import annotations

import base64

from daypass.crypto.entropy import random_bytes

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class RandomIds:
    """Implements `ports.Ids` from the system's randomness."""

    def unique(self, prefix: str) -> str:
        """85 random bits behind the prefix; 21 characters."""
        return prefix + _letters(17)

    def access_key(self, prefix: str) -> str:
        """80 random bits behind the prefix; 20 characters."""
        return prefix + base64.b32encode(random_bytes(10)).decode("ascii")

    def secret(self) -> str:
        return base64.b64encode(random_bytes(30)).decode("ascii")

    def session(self) -> str:
        return random_bytes(16).hex()

    def request(self) -> str:
        bits = random_bytes(16).hex()  # a UUID of version 4 (RFC 9562): the version and variant digits are fixed
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{_VARIANT[bits[16]]}{bits[17:20]}-{bits[20:]}"


def _letters(count: int) -> str:
    return "".join(_ALPHABET[byte & 31] for byte in random_bytes(count))
