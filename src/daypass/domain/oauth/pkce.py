"""PKCE with S256, the only method here (RFC 7636; attack A67)."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from daypass.domain.encoding import base64url

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def is_challenge(text: str) -> bool:
    """Whether this has the form of a code_challenge of S256: 43 characters of base64url."""
    return _CHALLENGE.fullmatch(text) is not None


def fits(unverified_verifier: str, challenge: str) -> bool:
    """Whether a code_verifier is the one of this challenge (RFC 7636, 4.6)."""
    if not _VERIFIER.fullmatch(unverified_verifier):
        return False
    digest = hashlib.sha256(unverified_verifier.encode("ascii")).digest()
    return hmac.compare_digest(base64url(digest), challenge)
