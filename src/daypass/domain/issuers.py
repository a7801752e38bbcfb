"""Which issuers of tokens an account may trust: its allow-list.

An entry is a provider's url (the issuer without `https://`), or a path and `/*` for everything below it. An asterisk
anywhere else would let `ci.example.com*` name `ci.example.com.attacker.net`, so there is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_ISSUERS = 100
MAX_ISSUER = 255
_BELOW = "/*"
_ENTRY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%!$&'()+,;=:@-]*)*"
)


_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def has_dot_segments(url: str) -> bool:
    """Whether a web server may take this URL for one that lies elsewhere (RFC 3986, 5.2.4), out of a path that is allowed."""
    return _DOTS.search(url) is not None


def entry_fault(entry: str) -> str:
    """What is wrong with an entry, in words; "" when it is good."""
    if len(entry) > MAX_ISSUER or not _ENTRY.fullmatch(entry.removesuffix("*") if entry.endswith(_BELOW) else entry):
        return "an entry is an issuer's URL without https://, or a path and /* for everything below it"
    return ""


def issuer_allowed(allowed: Sequence[str] | None, url: str) -> bool:
    """Whether an account with this allow-list (None: it has none, so any) may trust the provider `url`. Compared exactly."""
    if allowed is None:
        return True
    if url in allowed:
        return True
    below = (entry[:-1] for entry in allowed if entry.endswith(_BELOW))
    return not has_dot_segments(url) and any(map(url.startswith, below))


def secret_owner(url: str, member: str) -> str:
    """Whom a secret of a provider's settings is sealed for: this provider, for this member alone."""
    return f"oidc-provider/{url}#{member}"
