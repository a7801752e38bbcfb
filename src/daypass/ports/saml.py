"""SAML: metadata of identity providers, and their assertions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from daypass.domain.assertion import Assertion
from daypass.domain.directory import SamlProvider
from daypass.domain.source import UNKNOWN, Source


@dataclass(frozen=True, slots=True)
class SamlMetadataView:
    """The metadata of a SAML identity provider. `certificates` are those of its signing keys, DER."""

    entity_id: str
    certificates: tuple[bytes, ...]
    valid_until: int = 0  # ms; 0: not stated
    sso_url: str = ""  # the address for an AuthnRequest (HTTP-Redirect binding); "" when it has none


class SamlMetadata(Protocol):
    """Reads metadata documents of SAML identity providers."""

    def read(self, unverified_document: str) -> SamlMetadataView:
        """Raises ValueError with a reason for the author of the document."""
        ...

    def check_private_key(self, unverified_pem: str) -> None:
        """Raises ValueError with the reason when this is not a key (PEM) that could decrypt assertions."""
        ...


@dataclass(frozen=True, slots=True)
class SamlArrival:
    """How a SAML response arrived. `url`: our address to which a browser posted it; "": it is a parameter of a call.

    `request_id`: the request of ours that it must answer; "": it must not answer any of ours. `source`: the sender's
    network; sources take turns, as nothing else is proven yet.
    """

    url: str = ""
    request_id: str = ""
    source: Source = UNKNOWN


class SamlVerifier(Protocol):
    """The SAML 2.0 service provider: verifies responses, makes requests and publishes its metadata."""

    entity_id: str  # "" while the installation has no public address

    async def verify(
        self, unverified_response: str, provider: SamlProvider | None, now: int, arrival: SamlArrival
    ) -> Assertion:
        """The facts of a response (base64), all of them from signed content. `now` in ms.

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM. The refusal is the same
        for an unknown provider and for one that did not sign the response.
        """
        ...

    async def unverified_providers(self, unverified_response: str, source: Source) -> tuple[str, ...]:
        """ARNs of the providers that a response claims to come from: only for look-ups, never for trust.

        Sources take turns, as in `verify`.

        Raises DaypassError(INVALID_IDENTITY_TOKEN).
        """
        ...

    async def check_provider_unchanged(self, assertion: Assertion, provider: SamlProvider, now: int) -> None:
        """Whether `provider`, as it is now, would still vouch for an assertion that was verified a while ago.

        Raises DaypassError(INVALID_IDENTITY_TOKEN) when it has another issuer, or no longer the key that signed.
        """
        ...

    def acs_url(self, provider: SamlProvider | None = None) -> str:
        """The address to which browsers post responses: one for all providers, or this provider's own."""
        ...

    async def request_url(
        self, provider: SamlProvider, request_id: str, relay_state: str, now: int, *, again: bool = False
    ) -> str:
        """The URL at which a browser starts the login, with our AuthnRequest; "" when the provider has no such
        address. `again`: the provider is asked to authenticate the person again (ForceAuthn).
        """
        ...

    async def metadata(self, provider: SamlProvider | None = None) -> bytes:
        """Our own metadata; with a provider, its address and the keys that its assertions may be encrypted for."""
        ...
