"""The form of a signed token (RFC 7515, compact), taken apart and not verified, and the one way in which it is refused.

Only `crypto.jose` makes these values. Nothing in them may be relied on before `crypto.jose.verify` has accepted them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class JoseError(ValueError):
    """A token, or a set of keys, is not acceptable. The message says why, and holds no more than names from it."""


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A token's parts. `unverified_claims` are its payload, read as JSON; `kid` and `typ` are "" where it has none."""

    alg: str
    kid: str
    typ: str
    unverified_claims: Mapping[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    text: str = field(repr=False)
