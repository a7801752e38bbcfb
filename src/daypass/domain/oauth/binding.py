"""The binding of an access token to a key of its client: the claim `cnf` (RFC 7800).

A bound token is accepted only with a proof that its holder has the key: a DPoP proof (RFC 9449), or a TLS connection
with the certificate (RFC 8705).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

JKT: Final = "jkt"
X5T: Final = "x5t#S256"


class Binding(NamedTuple):
    """`member` of `cnf`, and the thumbprint in it: of a public key (RFC 7638), or of a certificate; base64url."""

    member: str
    thumbprint: str

    @property
    def claim(self) -> dict[str, str]:
        return {self.member: self.thumbprint}


def binding_of(claims: Mapping[str, Any]) -> Binding | None:
    """The binding in the claims of a token of this server; None for a bearer token."""
    confirmation = claims.get("cnf")
    if not isinstance(confirmation, Mapping):
        return None
    for member in (JKT, X5T):
        if member in confirmation:
            return Binding(member, str(confirmation[member]))
    return None
