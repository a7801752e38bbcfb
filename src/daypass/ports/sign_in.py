"""The endpoints of OpenID Connect providers at which people sign in with a browser."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from daypass.domain.directory import OidcProvider


class ProviderEndpoints(Struct, frozen=True):
    """What a provider's discovery document says of signing in (OpenID Connect Discovery 1.0, 3; RFC 9207, 3).

    `names_issuer`: its authorization responses have `iss`, so that one without it is refused. `secret_in_body`: it takes
    the client secret only as a parameter, not in the Authorization header.
    """

    issuer: str
    authorization: str
    token: str
    names_issuer: bool = False
    secret_in_body: bool = False


class ProviderTokens(Struct, frozen=True):
    """What a provider's token endpoint returned. Nothing is verified. `access_token` is "" when it returned none."""

    unverified_id_token: str
    access_token: str = ""

    def __repr__(self) -> str:
        return "ProviderTokens()"


class SignInProviders(Protocol):
    """Speaks to OpenID Connect providers for the sign-in of people."""

    async def endpoints(self, provider: OidcProvider, now: int) -> ProviderEndpoints:
        """The endpoints of a provider at `now` (ms), from a cache of at most an hour. Raises DaypassError(IDP_COMMUNICATION)."""
        ...

    async def redeem(
        self, provider: OidcProvider, endpoints: ProviderEndpoints, code: str, verifier: str, redirect_uri: str
    ) -> ProviderTokens:
        """The tokens for an authorization code (RFC 6749, 4.1.3). Raises DaypassError(IDP_COMMUNICATION)."""
        ...
