"""SAML: metadata of identity providers, and their assertions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from daypass.domain.assertion import Assertion
from daypass.domain.directory import SamlProvider


@dataclass(frozen=True, slots=True)
class SamlMetadataView:
    """What a SAML identity provider's metadata says of it. `certificates` are those of its signing keys, DER."""

    entity_id: str
    certificates: tuple[bytes, ...]
    valid_until: int = 0  # ms; 0: it does not say
    sso_url: str = ""  # where a browser brings an AuthnRequest (HTTP-Redirect binding); "" when it has none


class SamlMetadata(Protocol):
    """Reads metadata documents of SAML identity providers."""

    def read(self, unverified_document: str) -> SamlMetadataView:
        """Raises ValueError, with the reason in words for whoever wrote the document."""
        ...

    def check_private_key(self, unverified_pem: str) -> None:
        """Raises ValueError, with the reason, when this is no key (PEM) that could decrypt assertions."""
        ...


@dataclass(frozen=True, slots=True)
class SamlArrival:
    """How a SAML response came. `url`: our address that a browser brought it to; "": it is a parameter of a call.

    `request_id`: the request of ours that it must answer; "": it must answer none of ours.
    """

    url: str = ""
    request_id: str = ""


class SamlVerifier(Protocol):
    """The SAML 2.0 service provider: verifies responses, makes requests, tells who it is."""

    entity_id: str  # "" while the installation has no public address

    async def verify(
        self, unverified_response: str, provider: SamlProvider | None, now: int, arrival: SamlArrival
    ) -> Assertion:
        """The facts of a response (base64), all of them signed. `now` in ms.

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM. Without a provider, and
        with one that did not sign this, the refusal is the same.
        """
        ...

    async def unverified_providers(self, unverified_response: str) -> tuple[str, ...]:
        """ARNs of the providers that a response claims to come from: where to look, never whom to trust.

        Raises DaypassError(INVALID_IDENTITY_TOKEN).
        """
        ...

    async def check_standing(self, assertion: Assertion, provider: SamlProvider, now: int) -> None:
        """Whether `provider`, as it is now, would still vouch for an assertion that was verified a while ago.

        Raises DaypassError(INVALID_IDENTITY_TOKEN) when it has another issuer, or no longer the key that signed.
        """
        ...

    def acs_url(self, provider: SamlProvider | None = None) -> str:
        """Where browsers bring responses: one address for all providers, or this provider's own."""
        ...

    async def request_url(self, provider: SamlProvider, request_id: str, relay_state: str, now: int) -> str:
        """Where a browser starts to log in, with our AuthnRequest; "" when the provider has no such address."""
        ...

    async def metadata(self, provider: SamlProvider | None = None) -> bytes:
        """Our own metadata; with a provider, its address and the keys that its assertions may be encrypted for."""
        ...
