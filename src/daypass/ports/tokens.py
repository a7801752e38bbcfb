"""Tokens of OpenID Connect providers, and the keys that verify them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from daypass.domain.directory import OidcProvider
from daypass.domain.proof import Proof


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's public keys, as a JWKS (RFC 7517): its bytes, and their SHA-256 in hex, by which parsed keys are kept."""

    jwks: bytes
    hash: str


class IssuerKeys(Protocol):
    """Where the keys of issuers come from: settings, files, the network, a cache of either."""

    async def keys(self, provider: OidcProvider, kid: str, now: int) -> KeySet:
        """The keys of `provider` at `now` (ms), fetched anew within limits when none is named `kid` ("": any will do).

        The set need not hold `kid`. Raises DaypassError(IDP_COMMUNICATION) when there are no keys to be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """How it stands with a provider's keys. Times in ms, 0: never.

    Attributes:
        kind: where they come from: static | file | url | discovery.
        place: the file or URL.
        keys: kid, kty, alg, crv of each.
        fetched_at: when they were last fetched well; due_at: when they will be fetched again; usable_until: how long they
            serve if that keeps failing.
        tried_at, failed_at, error: the last attempt; error is "" when it went well.
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
    """Tells operators how it stands with the keys of issuers."""

    async def status(self, provider: OidcProvider, now: int, *, refresh: bool = False) -> IssuerStatus:
        """As this process has it. `refresh` fetches anew, at most once a second. Raises IDP_COMMUNICATION."""
        ...

    async def fault(self, provider: OidcProvider) -> str:
        """What is wrong with where its settings say that its keys are, as far as that shows without fetching; or ""."""
        ...


class UnverifiedToken(Protocol):
    """A token that has the form of one. Nothing about it has been verified."""

    @property
    def unverified_url(self) -> str:
        """The URL of the provider that it claims to come from, as `OidcProvider.url` has it."""
        ...

    @property
    def unverified_issuer(self) -> str:
        """The issuer as the token names it."""
        ...

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """What it says. For those who look into why a token is refused, and for nothing else."""
        ...


class TokenVerifier(Protocol):
    """Verifies tokens of OpenID Connect providers."""

    def read(self, unverified_text: str) -> UnverifiedToken:
        """The token's form. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
        ...

    async def verify(self, provider: OidcProvider, token: UnverifiedToken, now: int) -> Proof:
        """What `provider` says in a token that `read` gave, at `now` (ms).

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
        """
        ...
