"""Verifies what OAuth clients sign: assertions (RFC 7523) with their registered keys, DPoP proofs (RFC 9449) with their own.

Keys of clients come from their settings, or from their jwks_uri through the cache and the fetcher of issuers' keys. It
must never fetch anything that an assertion or a proof names.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from daypass.crypto import jose
from daypass.domain.directory import OAuthClient
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError, UnverifiedJws
from daypass.domain.oauth.client import key_source
from daypass.domain.oauth.client_metadata import MAX_DOCUMENT
from daypass.domain.provider_settings import ALGORITHMS
from daypass.federation.fetch import Fetcher, FetchError, FetchReason, Order
from daypass.federation.keys import IssuerKeys
from daypass.ports.certificates import DpopClaims
from daypass.scheduling.buckets import TickBatcher

ASSERTION_TYPES: Final = frozenset({"", "jwt", "client-authentication+jwt"})
"""Accepted `typ` headers of client assertions. An access token or ID token is not an assertion."""

_DPOP_TYPE: Final = "dpop+jwt"
_MAX_DPOP: Final = 4096  # characters
_MAX_TEXT: Final = 512


class SignedProofs:
    """Verifies the signatures that clients make."""

    def __init__(self, keys: IssuerKeys) -> None:
        self._keys = keys
        self._batcher = TickBatcher[str]()

    def read(self, unverified_text: str) -> UnverifiedJws:
        """Parses an assertion. Raises JoseError."""
        return jose.read(unverified_text)

    async def assertion(self, client: OAuthClient, unverified: UnverifiedJws, now: int) -> Mapping[str, Any]:
        """The claims of an assertion that one of the client's keys has signed. Their meaning is not checked.

        Raises JoseError, DaypassError: IDP_COMMUNICATION when the keys cannot be fetched, UNAVAILABLE.
        """
        if unverified.typ.lower().removeprefix("application/") not in ASSERTION_TYPES:
            raise JoseError("its type is not that of a client assertion")
        source = key_source(client.account, client.id, client.settings)
        if source is None:
            raise JoseError("the client has no keys")
        key_set = await self._keys.keys(source, unverified.kid, now)
        fault = await self._batcher.do(partial(self._fault, unverified, key_set.jwks))
        if fault:
            raise JoseError(fault)
        return unverified.unverified_claims  # verified by now

    def _fault(self, unverified: UnverifiedJws, jwks: bytes) -> str:
        """Why the signature of an assertion is not accepted; "" when it is."""
        try:
            jose.verify(unverified, jwks, ALGORITHMS)
        except JoseError as error:
            return str(error)
        return ""

    def dpop(self, unverified_text: str) -> DpopClaims:
        """The content of a DPoP proof. Raises JoseError."""
        if len(unverified_text) > _MAX_DPOP:
            raise JoseError(f"a proof has at most {_MAX_DPOP} characters")
        jws, key = jose.read_with_key(unverified_text)
        if jws.typ.lower().removeprefix("application/") != _DPOP_TYPE:
            raise JoseError(f"its type is not {_DPOP_TYPE}")
        bare = {name: value for name, value in key.items() if name in ("kty", "crv", "x", "y", "n", "e")}
        jose.verify(jws, json.dumps({"keys": [bare]}).encode("utf-8"), ALGORITHMS)
        claims = jws.unverified_claims  # verified by now
        issued_at, expires_at, not_before = (_seconds(claims, name) for name in ("iat", "exp", "nbf"))
        if issued_at is None:
            raise JoseError("its iat is missing")
        texts = [_text(claims, name, required=name in ("jti", "htm", "htu")) for name in _TEXTS]
        identifier, method, uri, nonce, token_hash = texts
        thumbprint = jose.thumbprint(key)
        return DpopClaims(
            jws.alg, thumbprint, identifier, method, uri, issued_at, nonce, token_hash, expires_at, not_before
        )


_TEXTS: Final = ("jti", "htm", "htu", "nonce", "ath")


def _text(claims: Mapping[str, Any], name: str, *, required: bool) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT * 2 or (required and not value):
        raise JoseError(f"its {name} is missing, or is not a usable string")
    return value


def _seconds(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if name in claims and (not isinstance(value, int) or isinstance(value, bool)):
        raise JoseError(f"its {name} is not a whole number of seconds")
    return value


# --- Fetches client ID metadata documents, for client_ids that the allow-list of an account names


_LONGEST_MS: Final = 3_600_000
_USUAL_MS: Final = 300_000
_SHORTEST_MS: Final = 10_000
_MAX_CACHED: Final = 1_000


class ClientDocuments:
    """The metadata documents of clients whose client_id is a URL. `allow_private`: documents may come from private addresses."""

    def __init__(self, fetcher: Fetcher, *, allow_private: bool = False) -> None:
        self._fetcher = fetcher
        self._allow_private = allow_private
        self._cache: OrderedDict[str, tuple[int, bytes | FetchError]] = OrderedDict()

    async def fetch(self, client_id: str, account: str, now: int) -> bytes:
        """The document at this URL, as fetched or cached. `account`: whose share of the fetches it takes.

        Call it only for a URL that the account accepts. Raises DaypassError(IDP_COMMUNICATION).
        """
        cached = self._cache.get(client_id)
        if cached is None or now >= cached[0]:
            cached = await self._fetched(client_id, account, now)
            if not (isinstance(cached[1], FetchError) and cached[1].reason is FetchReason.BUSY):
                self._cache[client_id] = cached
                self._cache.move_to_end(client_id)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        if isinstance(cached[1], FetchError):
            raise DaypassError(
                ErrorKind.IDP_COMMUNICATION,
                "The application's metadata document could not be fetched.",
                private={"client_id": client_id, "document": str(cached[1])},
            )
        return cached[1]

    async def _fetched(self, client_id: str, account: str, now: int) -> tuple[int, bytes | FetchError]:
        order = Order(client_id, allow_private=self._allow_private, owner=f"{account}/clients")
        try:
            answer = await self._fetcher.fetch(order)
        except FetchError as error:
            return now + _SHORTEST_MS, error
        lifetime = _USUAL_MS if answer.max_age is None else max(min(answer.max_age * 1000, _LONGEST_MS), _SHORTEST_MS)
        return now + lifetime, answer.body[: MAX_DOCUMENT + 1]
