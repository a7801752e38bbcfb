"""Public keys as JSON (RFC 7517): which members are secret, and why an RSA key that somebody configures is not usable.

A key that verification would skip is refused when it is written: otherwise each token of it fails, far from the cause.
Pure: no signature is verified here, and no arithmetic is done with the key (attack A114).
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

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


# --- Which RSA public keys are accepted from any source: certificates, SAML metadata, key sets


MIN_BITS: Final = 2048
MAX_BITS: Final = 8192
MIN_EXPONENT: Final = 65_537  # FIPS 186-5, 5.4: the exponent is odd and greater than 2^16
END_OF_EXPONENTS: Final = 1 << 32


def refusal_of_rsa(modulus_bits: int, exponent: int) -> str:
    """Why a public key is not accepted, to follow the words "an RSA key "; "" when it is accepted."""
    if not MIN_BITS <= modulus_bits <= MAX_BITS:
        return f"of {modulus_bits} bits; {MIN_BITS} to {MAX_BITS} are accepted"
    if not MIN_EXPONENT <= exponent < END_OF_EXPONENTS or exponent % 2 == 0:
        return f"with a public exponent of {exponent.bit_length()} bits; an odd one from {MIN_EXPONENT} to 2^32 is accepted"
    return ""
