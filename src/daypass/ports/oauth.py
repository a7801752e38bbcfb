"""The authorization server's identity, the keys that sign its access tokens, and the proofs that clients sign."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

from msgspec import Struct

from daypass.domain.directory import OAuthClient
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import UnverifiedJws


class TokenSigner(Protocol):
    """Signs and verifies access tokens (RFC 9068) with the keys of the signing rings. Private keys never leave it."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that it signs with, of ES256, EdDSA and RS256."""
        ...

    def sign(self, claims: Mapping[str, Any], algorithm: str, typ: str = "at+jwt") -> str:
        """The claims as a signed token of this type. Raises DaypassError(UNAVAILABLE) when no key may sign now."""
        ...

    def unsigned(self, claims: Mapping[str, Any], algorithm: str, typ: str = "at+jwt") -> Callable[[], str]:
        """What `sign` does up to the signature, which the result makes. Raises what `sign` raises."""
        ...

    async def verify(self, unverified_text: str, typ: str = "at+jwt") -> Mapping[str, Any]:
        """The claims of a token that one of these keys has signed. Raises JoseError, DaypassError(UNAVAILABLE).

        `typ`: the type that it must have, in lower case; an access token by default. Its issuer, audience and times are not
        checked here.
        """
        ...

    def jwks(self) -> bytes:
        """The public keys as a JWKS (RFC 7517), from memory: those that sign, signed, or will sign."""
        ...


class DpopClaims(Struct, frozen=True):
    """What a DPoP proof says (RFC 9449, 4.2). Its signature is verified by its own key; nothing else is checked.

    `thumbprint`: of that key (RFC 7638). Times in seconds; `expires_at` (`exp`) and `not_before` (`nbf`) are None when absent,
    `nonce` and `token_hash` (`ath`) "".
    """

    algorithm: str
    thumbprint: str
    id: str
    method: str
    uri: str
    issued_at: int
    nonce: str = ""
    token_hash: str = ""
    expires_at: int | None = None
    not_before: int | None = None


class ClientProofs(Protocol):
    """Verifies the signatures that clients make."""

    def read(self, unverified_text: str) -> UnverifiedJws:
        """Parses an assertion. Raises JoseError."""
        ...

    async def assertion(self, client: OAuthClient, unverified: UnverifiedJws, now: int) -> Mapping[str, Any]:
        """The claims of an assertion that one of the client's keys has signed. Their meaning is not checked.

        Raises JoseError, DaypassError: IDP_COMMUNICATION when the keys cannot be fetched, UNAVAILABLE.
        """
        ...

    def dpop(self, unverified_text: str) -> DpopClaims:
        """The content of a DPoP proof. Raises JoseError."""
        ...


class ClientDocuments(Protocol):
    """The metadata documents of clients whose client_id is a URL."""

    async def fetch(self, client_id: str, account: str, now: int) -> bytes:
        """The document at this URL, as fetched or cached. `account`: whose share of the fetches it takes.

        Call it only for a URL that the account accepts. Raises DaypassError(IDP_COMMUNICATION).
        """
        ...


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """The authorization server of this installation.

    Attributes:
        issuer: its URL, without a slash at its end; "" where there is none.
        proofs: verifies what clients sign.
        algorithm: what access tokens are signed with.
        documents: the metadata documents of clients.
        exceptions: algorithm by audience, where it is another.
        registration: whether clients may register themselves (RFC 7591).
        web_identity_algorithms: what tokens for other clouds may be signed with; the first is the default.
    """

    issuer: str
    signer: TokenSigner
    proofs: ClientProofs
    documents: ClientDocuments
    algorithm: str = "ES256"
    exceptions: Mapping[str, str] = field(default_factory=dict)
    web_identity_algorithms: tuple[str, ...] = ("ES256",)
    registration: bool = False

    @property
    def enabled(self) -> bool:
        """Whether this installation has an authorization server."""
        return bool(self.issuer)

    def algorithm_for(self, audiences: Collection[str], registered: Collection[str] = ()) -> str:
        """The algorithm for a token with these audiences. Raises ValueError when they need different ones.

        `registered`: the algorithms of the resource servers among the audiences, which override the settings.
        """
        wanted = set(registered) or {self.exceptions[name] for name in audiences if name in self.exceptions}
        if len(wanted) > 1:
            raise ValueError("the audiences need tokens of different algorithms")
        return wanted.pop() if wanted else self.algorithm


class _NoKeys:
    """Signs and verifies nothing."""

    algorithms: tuple[str, ...] = ()

    def sign(self, claims: Mapping[str, Any], algorithm: str, typ: str = "at+jwt") -> NoReturn:
        del claims, algorithm, typ
        raise _no_oauth()

    def unsigned(self, claims: Mapping[str, Any], algorithm: str, typ: str = "at+jwt") -> NoReturn:
        del claims, algorithm, typ
        raise _no_oauth()

    async def verify(self, unverified_text: str, typ: str = "") -> NoReturn:
        del unverified_text, typ
        raise _no_oauth()

    def jwks(self) -> bytes:
        return b'{"keys":[]}'

    def read(self, unverified_text: str) -> NoReturn:
        del unverified_text
        raise _no_oauth()

    async def assertion(self, client: OAuthClient, unverified: UnverifiedJws, now: int) -> NoReturn:
        del client, unverified, now
        raise _no_oauth()

    async def fetch(self, client_id: str, account: str, now: int) -> NoReturn:
        del client_id, account, now
        raise _no_oauth()

    def dpop(self, unverified_text: str) -> NoReturn:
        del unverified_text
        raise _no_oauth()


def _no_oauth() -> DaypassError:
    return DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "OAuth is off: server.public_url is not set.")


_NO_KEYS: Final = _NoKeys()
NO_OAUTH: Final = AuthorizationServer("", _NO_KEYS, _NO_KEYS, _NO_KEYS)
"""An installation without a public URL has no authorization server."""
