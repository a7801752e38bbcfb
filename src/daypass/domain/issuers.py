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


def entry_fault(entry: str) -> str:
    """What is wrong with an entry, in words; "" when it is good."""
    if len(entry) > MAX_ISSUER or not _ENTRY.fullmatch(entry.removesuffix("*") if entry.endswith(_BELOW) else entry):
        return "an entry is an issuer's URL without https://, or a path and /* for everything below it"
    return ""


def issuer_allowed(allowed: Sequence[str] | None, url: str) -> bool:
    """Whether an account with this allow-list (None: it has none, so any) may trust the provider `url`. Compared exactly."""
    if allowed is None:
        return True
    return any(url.startswith(entry[:-1]) if entry.endswith(_BELOW) else url == entry for entry in allowed)


def secret_owner(url: str, member: str) -> str:
    """Whom a secret of a provider's settings is sealed for: this provider, for this member alone."""
    return f"oidc-provider/{url}#{member}"
