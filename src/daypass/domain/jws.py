"""A signed token (RFC 7515, compact), parsed but not verified, and the error for tokens that are not accepted.

Only `crypto.jose` creates these values. Do not rely on them before `crypto.jose.verify` has accepted them.
"""

from __future__ import annotations

import base64
import hashlib
from binascii import b2a_base64
from collections.abc import Mapping
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
