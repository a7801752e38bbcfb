"""A signed token (RFC 7515, compact), parsed but not verified, and the error for tokens that are not accepted.

Only `crypto.jose` creates these values. Do not rely on them before `crypto.jose.verify` has accepted them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

ID_JAG: Final = "oauth-id-jag+jwt"
"""The type of an identity assertion grant (draft-ietf-oauth-identity-assertion-authz-grant)."""


class JoseError(ValueError):
    """A token or a key set is not accepted. The message gives the reason, and contains at most names from the token."""


class UnverifiedJws(Struct, frozen=True):
    """The parts of a token. `unverified_claims` is its payload, parsed as JSON; `kid` and `typ` are "" when absent."""

    alg: str
    kid: str
    typ: str
    unverified_claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes
    text: str

    def __repr__(self) -> str:  # the token itself stays out of logs
        return f"UnverifiedJws({self.alg!r}, {self.kid!r}, {self.typ!r})"


# --- The encodings that tokens, codes, answers and stored digests share


_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return b2a_base64(data, newline=False).translate(_URLSAFE, b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of base64url, with or without padding. Raises ValueError for any other text, also for other base64."""
    if "+" in text or "/" in text:
        raise ValueError("not base64url")
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)


def text_digest(text: str) -> str:
    """The SHA-256 of a text in hex. Every text has one, also one with lone surrogates."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=1024)  # an answer repeats its times, and many requests arrive in the same second
def iso_time(seconds: int) -> str:
    """Seconds since the epoch as AWS writes times: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Jwk


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
