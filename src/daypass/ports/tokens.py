"""Tokens of OpenID Connect providers, and the keys that verify them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from daypass.domain.directory import OidcProvider
from daypass.domain.proof import Proof


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's public keys as a JWKS (RFC 7517): its bytes, and their SHA-256 in hex, the cache key of parsed
    keys.
    """

    jwks: bytes
    hash: str


class IssuerKeys(Protocol):
    """Where the keys of issuers come from: settings, files, the network, a cache of either."""

    async def keys(self, provider: OidcProvider, kid: str, now: int) -> KeySet:
        """The keys of `provider` at `now` (ms), fetched again within limits when none is named `kid` ("": any key).

        The set need not hold `kid`. Raises DaypassError(IDP_COMMUNICATION) when no keys are available.
        """
        ...


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """The status of a provider's keys. Times in ms, 0: never.

    Attributes:
        kind: where they come from: static | file | url | discovery.
        place: the file or URL.
        keys: kid, kty, alg, crv of each.
        fetched_at: the last successful fetch; due_at: when they will be fetched again; usable_until: how long they are
        used if fetches keep failing.
        tried_at, failed_at, error: the last attempt; error is "" if it succeeded.
        skew_ms: the issuer's clock minus ours, None when it is not known.
    """

    kind: str
    place: str
    keys: tuple[Mapping[str, str], ...]
    fetched_at: int = 0
    due_at: int = 0
    usable_until: int = 0
    tried_at: int = 0
    failed_at: int = 0
    error: str = ""
    skew_ms: int | None = None


class IssuerStatuses(Protocol):
    """Reports the status of issuers' keys to operators."""

    async def status(self, provider: OidcProvider, now: int, *, refresh: bool = False) -> IssuerStatus:
        """The status in this process. `refresh` fetches again, at most once a second. Raises IDP_COMMUNICATION."""
        ...

    async def fault(self, provider: OidcProvider) -> str:
        """The fault in the configured source of its keys, as far as it can be detected without fetching; or ""."""
        ...


class UnverifiedToken(Protocol):
    """A well-formed token. Nothing about it has been verified."""

    @property
    def unverified_url(self) -> str:
        """The URL of the provider that it claims to come from, as `OidcProvider.url` has it."""
        ...

    @property
    def unverified_issuer(self) -> str:
        """The issuer as the token names it."""
        ...

    @property
    def unverified_type(self) -> str:
        """`typ` of its header, in lower case and without "application/"; "" for none."""
        ...

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """Its claims. Only for finding out why a token is refused."""
        ...


class TokenVerifier(Protocol):
    """Verifies tokens of OpenID Connect providers."""

    def read(self, unverified_text: str) -> UnverifiedToken:
        """Parses a token. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
        ...

    async def verify(
        self, provider: OidcProvider, token: UnverifiedToken, now: int, *, identity_assertion: bool = False
    ) -> Proof:
        """Verifies a token from `read` for `provider` at `now` (ms) and returns its facts.

        `identity_assertion`: it must be an identity assertion grant, which is accepted in no other case and used once.

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
        """
        ...
