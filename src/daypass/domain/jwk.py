"""Public keys as JSON (RFC 7517): which members are secret, and why an RSA key that somebody configures is not usable.

A key that verification would skip is refused when it is written: otherwise each token of it fails, far from the cause.
Pure: no signature is verified here, and no arithmetic is done with the key (attack A114).
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from daypass.domain.rsa import refusal_of_rsa

PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})  # RFC 7518, 6
_MAX_DIGITS: Final = 8_192
"""Characters of a number that are decoded; the modulus of 16,384 bits has 2,731."""
_STANDARD: Final = str.maketrans("-_", "+/")


def fault_of_rsa_keys(keys: Iterable[Any]) -> str:
    """Why one of these keys is not accepted, naming it, or "". Keys of other types, or for other uses, have no fault."""
    for at, key in enumerate(keys):
        if not isinstance(key, Mapping) or key.get("kty") != "RSA" or key.get("use", "sig") == "enc":
            continue
        n, e = _number(key.get("n")), _number(key.get("e"))
        if n is None or e is None:
            return f"{_name(at, key)} is an RSA key whose n or e is not a number in base64url"
        if refusal := refusal_of_rsa(n.bit_length(), e):
            return f"{_name(at, key)} is an RSA key {refusal}"
    return ""


def _name(at: int, key: Mapping[str, Any]) -> str:
    kid = key.get("kid")
    return f"key {kid[:128]!r}" if isinstance(kid, str) and kid else f"key {at + 1}"


def _number(unverified_text: Any) -> int | None:
    if not isinstance(unverified_text, str) or not 0 < len(unverified_text) <= _MAX_DIGITS:
        return None
    padding = "=" * (-len(unverified_text) % 4)
    try:
        return int.from_bytes(binascii.a2b_base64(unverified_text.translate(_STANDARD) + padding, strict_mode=True))
    except ValueError:
        return None
