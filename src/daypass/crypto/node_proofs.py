"""Proofs that a request comes from a node of this installation: short-lived tokens of the signing ring.

Whoever has the ring keys is a node. The type of the token keeps it apart from access tokens.
"""

from __future__ import annotations

from typing import Final

from daypass.crypto.signing import RingSigner
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError
from daypass.ports.clock import Clock

TYPE: Final = "daypass-node+jwt"
_ALGORITHM: Final = "ES256"
_VALID_MS: Final = 30_000
_AHEAD_MS: Final = 30_000  # by how much the clock of a node may be ahead


class RingNodeProofs:
    """`node`: the id of this process."""

    def __init__(self, signer: RingSigner, clock: Clock, node: str) -> None:
        self._signer = signer
        self._clock = clock
        self._node = node

    def make(self) -> str:
        """A new proof. Raises DaypassError(UNAVAILABLE). Safe to call from a thread."""
        return self._signer.sign({"sub": self._node, "iat": self._clock.now()}, _ALGORITHM, TYPE)

    async def check(self, unverified_text: str) -> None:
        """Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE."""
        try:
            claims = await self._signer.verify(unverified_text, TYPE)
        except JoseError as error:
            raise _invalid(str(error)) from None
        made, now = claims.get("iat"), self._clock.now()
        if not isinstance(made, int) or not now - _VALID_MS <= made <= now + _AHEAD_MS:
            raise _invalid("it is not of now")


def _invalid(reason: str) -> DaypassError:
    message = "The proof of a node is invalid or has expired."
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, message, private={"reason": reason})
