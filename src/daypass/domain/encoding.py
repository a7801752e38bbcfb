"""The encodings that tokens, codes, answers and stored digests share."""

from __future__ import annotations

import base64
import hashlib
from binascii import b2a_base64
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

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
