"""Access tokens: signing them with the signing rings, verifying our own, and the JWKS with which others verify them.

A token can only name its key, and a key is never used for an algorithm other than that of its ring. Public keys
are derived from the wrapped private ones, so that there is nothing else to store or to alter.
Sources: RFC 7515, 7517, 7518 (3.4, 6.2, 6.3), 8037; the type is that of RFC 9068, 2.1.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from daypass.crypto.jose import PrivateJwsKey, read
from daypass.crypto.key_encryption import RingError, unavailable
from daypass.crypto.keys import KeyRings, Ring, RingKey
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError, base64url
from daypass.ports.clock import Clock

RINGS: Final[Mapping[str, Ring]] = {
    "ES256": Ring.SIGNING,
    "EdDSA": Ring.SIGNING_EDDSA,
    "RS256": Ring.SIGNING_RS256,
    "ES384": Ring.SIGNING_ES384,
}
"""The ring of each algorithm."""

TYPE: Final = "at+jwt"
DEFAULT_CACHE: Final = 5_000
_KID = re.compile(r"[0-9a-f]{16}")


class RingSigner:
    """Signs and verifies access tokens (RFC 9068) with the keys of the signing rings. Private keys never leave it.

    Args:
        algorithms: those that tokens are signed with. Keys of the others are published and verify too: the settings may
            have been different, or may be soon.
        cache: how many verified tokens to remember, by a hash: verifying one again costs a look-up.
    """

    def __init__(self, rings: KeyRings, clock: Clock, algorithms: Collection[str], cache: int = DEFAULT_CACHE) -> None:
        self._rings = rings
        self._clock = clock
        self.algorithms = tuple(name for name in RINGS if name in algorithms)
        self._loaded: dict[str, PrivateJwsKey] = {}
        self._jwks: tuple[tuple[str, ...], bytes] = ((), b"")
        self._cache = cache
        self._verified: OrderedDict[bytes, tuple[Mapping[str, Any], tuple[Ring, str]]] = OrderedDict()

    def sign(self, claims: Mapping[str, Any], algorithm: str, typ: str = TYPE) -> str:
        """The claims as a signed token of this type. Raises DaypassError(UNAVAILABLE) when no key may sign now."""
        return self.unsigned(claims, algorithm, typ)()

    def unsigned(self, claims: Mapping[str, Any], algorithm: str, typ: str = TYPE) -> Callable[[], str]:
        """Prepares a signature; calling the result makes it. Raises what `sign` raises."""
        try:
            key = self._rings.signing(RINGS[algorithm], self._clock.now())
        except RingError as error:
            raise unavailable(error) from None
        text = f"{_header(algorithm, key.id, typ)}.{base64url(msgspec.json.encode(claims))}"
        private = self._private(algorithm, key)
        return lambda: f"{text}.{base64url(private.sign(text.encode('ascii')))}"

    async def verify(self, unverified_text: str, typ: str = TYPE) -> Mapping[str, Any]:
        """The claims of a token that one of these keys has signed. Raises JoseError, DaypassError(UNAVAILABLE).

        `typ`: the type that it must have, in lower case; an access token by default. Its issuer, audience and times are not
        checked here.

        Tokens of another type are refused (RFC 8725, 3.11).
        """
        if typ != TYPE:
            return (await self._verify(unverified_text, typ))[0]
        digest = sha256(unverified_text.encode("utf-8", "surrogatepass")).digest()
        found = self._verified.get(digest)
        if found is not None and self._rings.known(*found[1], self._clock.now()) is not None:
            self._verified.move_to_end(digest)
            return found[0]
        claims, key = await self._verify(unverified_text, TYPE)
        self._verified[digest] = claims, key
        while len(self._verified) > self._cache:
            self._verified.popitem(last=False)
        return claims

    async def _verify(self, unverified_text: str, typ: str) -> tuple[Mapping[str, Any], tuple[Ring, str]]:
        """The claims, and the ring and id of the key: the result holds as long as that key may verify."""
        token = read(unverified_text)
        if token.typ.lower().removeprefix("application/") != typ:
            raise JoseError("it is not an access token" if typ == TYPE else f"its type is not {typ}")
        if token.alg not in RINGS or not _KID.fullmatch(token.kid):
            raise JoseError("it is not signed by a key of this server")
        try:
            key = await self._rings.verifying(RINGS[token.alg], token.kid, self._clock.now())
        except RingError as error:
            raise unavailable(error) from None
        if key is None or not self._private(token.alg, key).verify(token.signing_input, token.signature):
            raise JoseError("it is not signed by a key of this server")
        return token.unverified_claims, (RINGS[token.alg], key.id)  # verified by now

    def jwks(self) -> bytes:
        """The public keys as a JWKS (RFC 7517), from memory: those that sign, signed, or will sign."""
        now = self._clock.now()
        found = [(name, key) for name, ring in RINGS.items() for key in self._rings.published(ring, now)]
        ids = tuple(key.id for _, key in found)
        if self._jwks[0] != ids or not ids:
            self._loaded = {key.id: self._private(name, key) for name, key in found}
            keys = [self._loaded[key.id].public(key.id) for _, key in found]
            self._jwks = ids, msgspec.json.encode({"keys": keys})
        return self._jwks[1]

    def _private(self, algorithm: str, key: RingKey) -> PrivateJwsKey:
        loaded = self._loaded.get(key.id)
        if loaded is None:
            loaded = self._loaded[key.id] = PrivateJwsKey(algorithm, key.material)
        return loaded


@lru_cache(maxsize=64)
def _header(algorithm: str, kid: str, typ: str) -> str:
    """The first part of a token; it is the same for all tokens of a key."""
    return base64url(msgspec.json.encode({"alg": algorithm, "kid": kid, "typ": typ}))


# --- Proofs that a request comes from a node of this installation: short-lived tokens of the signing ring


NODE_TYPE: Final = "daypass-node+jwt"
_ALGORITHM: Final = "ES256"
_VALID_MS: Final = 30_000
_AHEAD_MS: Final = 30_000  # by how much the clock of a node may be ahead


class RingNodeProofs:
    """Whoever has the ring keys is a node. The type of the token keeps it apart from access tokens.

    `node`: the id of this process.
    """

    def __init__(self, signer: RingSigner, clock: Clock, node: str) -> None:
        self._signer = signer
        self._clock = clock
        self._node = node

    def make(self) -> str:
        """A new proof. Raises DaypassError(UNAVAILABLE). Safe to call from a thread."""
        return self._signer.sign({"sub": self._node, "iat": self._clock.now()}, _ALGORITHM, NODE_TYPE)

    async def check(self, unverified_text: str) -> None:
        """Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE."""
        try:
            claims = await self._signer.verify(unverified_text, NODE_TYPE)
        except JoseError as error:
            raise _invalid(str(error)) from None
        made, now = claims.get("iat"), self._clock.now()
        if not isinstance(made, int) or not now - _VALID_MS <= made <= now + _AHEAD_MS:
            raise _invalid("it is not of now")


def _invalid(reason: str) -> DaypassError:
    message = "The proof of a node is invalid or has expired."
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, message, private={"reason": reason})
