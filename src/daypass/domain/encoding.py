"""The encodings that tokens, codes and stored digests share."""

from __future__ import annotations

import base64
import hashlib


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def text_digest(text: str) -> str:
    """The SHA-256 of a text in hex. Every text has one, also one with lone surrogates."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
