"""Passwords: the requirements of a policy, and the slow hash, which is all that is stored.

Never log, store or return a password. Hashing takes a third of a second and 32 MB: never do it on the event loop or on
the writer's thread. A user's previous passwords share one salt, so that checking for reuse takes one hash.
Sources: RFC 7914 (scrypt); OWASP Password Storage Cheat Sheet; IAM User Guide, "Set an account password policy for IAM
users".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, TypeAlias

from daypass.domain.directory import PasswordPolicy

Cost: TypeAlias = tuple[int, int, int]
"""log2 of N, r, p."""

SYMBOLS: Final = frozenset("!@#$%^&*()_+-=[]{}|'")
_UPPER: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER: Final = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS: Final = frozenset("0123456789")

_DEFAULT_LENGTH: Final = 8
_DEFAULT_KINDS: Final = 3  # of the four kinds of characters

_SCHEME: Final = "scrypt"
_COST: Cost = (15, 8, 3)
RANDOM_COST: Final[Cost] = (1, 1, 1)
"""The lowest cost, for secrets of 256 random bits: nobody can find one by hashing, so a higher cost would only give work to
the server, and that for anyone who sends wrong secrets (attack A232; NIST SP 800-63B, 5.1.2.2).
"""

_MEMORY: Final = 1 << 26
_HASH_BYTES: Final = 32


def conforms(password: str, policy: PasswordPolicy | None, account_name: str) -> bool:
    """Whether the policy, or AWS's default policy without one, accepts a password."""
    used = set(password)
    if policy is None:
        kinds = sum(not used.isdisjoint(kind) for kind in (_UPPER, _LOWER, _DIGITS, SYMBOLS))
        return len(password) >= _DEFAULT_LENGTH and kinds >= _DEFAULT_KINDS and password != account_name
    required_kinds = (
        (policy.require_uppercase, _UPPER),
        (policy.require_lowercase, _LOWER),
        (policy.require_numbers, _DIGITS),
        (policy.require_symbols, SYMBOLS),
    )
    missing = any(required and used.isdisjoint(kind) for required, kind in required_kinds)
    return len(password) >= policy.minimum_length and not missing


def hashed(password: str, salt: str, cost: Cost | None = None) -> str:
    """The hash with its parameters: `scrypt$log2(N)$r$p$salt$hash`. `salt` contains no `$`."""
    n, r, p = cost or _COST
    digest = hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt.encode("ascii"),
        n=1 << n,
        r=r,
        p=p,
        maxmem=_MEMORY,
        dklen=_HASH_BYTES,
    )
    return "$".join((_SCHEME, str(n), str(r), str(p), salt, base64.b64encode(digest).decode("ascii")))


def matches(password: str, stored: str) -> bool:
    """Whether a stored hash is that of this password."""
    return uses_again(password, (stored,))


def uses_again(password: str, stored: Iterable[str]) -> bool:
    """Whether one of these hashes is that of this password. Hashes with the same salt and cost take one computation."""
    again: dict[tuple[Cost, str], str] = {}
    found = False
    for one in stored:
        _, n, r, p, salt, _ = one.split("$")
        made_with = ((int(n), int(r), int(p)), salt)
        if made_with not in again:
            again[made_with] = hashed(password, salt, made_with[0])
        found |= hmac.compare_digest(again[made_with].encode("ascii"), one.encode("ascii"))
    return found


def is_quick(stored: str) -> bool:
    """Whether comparing with a stored hash takes microseconds, so that it may be done on the event loop."""
    return stored.split("$")[1:4] == [str(part) for part in RANDOM_COST]


def salt_of(stored: str) -> str:
    return stored.split("$")[4]
