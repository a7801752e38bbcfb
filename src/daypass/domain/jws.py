"""A signed token (RFC 7515, compact), parsed but not verified, and the error for tokens that are not accepted.

Only `crypto.jose` creates these values. Do not rely on them before `crypto.jose.verify` has accepted them.
"""

from __future__ import annotations

from collections.abc import Mapping
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
