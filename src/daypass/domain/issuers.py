"""An account's allow-list: the issuers of tokens that it may trust.

An entry is a provider's url (the issuer without `https://`), or a path and `/*` for everything below it. An asterisk
anywhere else is refused, because `ci.example.com*` would match `ci.example.com.attacker.net`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_ISSUERS = 100
MAX_ISSUER = 255
_BELOW = "/*"
_ENTRY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%!$&'()+,;=:@-]*)*"
)


_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def has_dot_segments(url: str) -> bool:
    """Whether a web server may resolve this URL to another one (RFC 3986, 5.2.4), outside an allowed path."""
    return _DOTS.search(url) is not None


def entry_fault(entry: str) -> str:
    """Why an entry is not valid, in words; "" when it is valid."""
    if len(entry) > MAX_ISSUER or not _ENTRY.fullmatch(entry.removesuffix("*") if entry.endswith(_BELOW) else entry):
        return "an entry is an issuer's URL without https://, or a path and /* for everything below it"
    return ""


def issuer_allowed(allowed: Sequence[str] | None, url: str) -> bool:
    """Whether an account with this allow-list (None: no list, any issuer) may trust the provider `url`. Exact comparison."""
    if allowed is None:
        return True
    if url in allowed:
        return True
    below = (entry[:-1] for entry in allowed if entry.endswith(_BELOW))
    return not has_dot_segments(url) and any(map(url.startswith, below))


def secret_owner(url: str, member: str) -> str:
    """The associated data of a sealed secret: this provider and this member only."""
    return f"oidc-provider/{url}#{member}"
