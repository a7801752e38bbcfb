"""The SAML 2.0 service provider: our addresses and names, the keys of providers, requests and metadata.

Responses are verified in a worker process (`saml_response`), in turns by source, because that takes milliseconds of
Python. Private keys stay in this process: it decrypts, and sends the decrypted assertion to the worker.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives.asymmetric import rsa

from daypass.crypto.seal import Sealer
from daypass.domain.arn import Source
from daypass.domain.assertion import Assertion
from daypass.domain.directory import SamlProvider
from daypass.domain.jws import iso_time
from daypass.federation import saml_metadata
from daypass.federation.saml_facts import SamlRules
from daypass.federation.saml_response import Encrypted, claimed_providers, not_signed, verify_decrypted, verify_response
from daypass.federation.saml_signature import key_digest
from daypass.federation.saml_xml import BadXml, Undecryptable, certificate_of, decrypt, load_key
from daypass.ports.certificates import SamlArrival, SamlMetadataView
from daypass.ports.heavy import HeavyWork
from daypass.scheduling.threads import FairThreads

_THREAD: Final = FairThreads(1, "daypass-saml")
"""Decrypts. One thread, because it is for rare work and must not take more than one core."""
_MAX_METADATA: Final = 256  # providers whose metadata is cached


class SamlServiceProvider:
    """The SAML 2.0 service provider: verifies responses, makes requests and publishes its metadata.

    Args:
        sealer: opens the private keys of providers.
        heavy: where responses and metadata are read.
        public_url: the installation's address for browsers, without a slash at its end; "" for none.
        aws_addresses: whether responses for AWS's own sign-in address are accepted, as AWS clients use them.
        observe_skew: called for each verified response with the provider's ARN and its age in seconds.
    """

    def __init__(
        self,
        sealer: Sealer,
        heavy: HeavyWork,
        public_url: str = "",
        *,
        aws_addresses: bool = True,
        observe_skew: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._sealer = sealer
        self._heavy = heavy
        self._observe_skew = observe_skew
        self._base = public_url.rstrip("/")
        self._aws = aws_addresses
        self._views: OrderedDict[str, tuple[str, SamlMetadataView | str]] = OrderedDict()
        self.entity_id = f"{self._base}/saml/metadata" if self._base else ""

    async def verify(
        self, unverified_response: str, provider: SamlProvider | None, now: int, arrival: SamlArrival
    ) -> Assertion:
        """The facts of a response (base64), all of them from signed content. `now` in ms.

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM. The refusal is the same
        for an unknown provider and for one that did not sign the response.
        """
        source = arrival.source.lane
        rules = await self._rules(provider, now, arrival)
        found = await self._heavy.compute(source, verify_response, unverified_response, rules, quick=True)
        if isinstance(found, Encrypted):
            decrypted = await self._decrypted(found, provider, source)
            found = await self._heavy.compute(source, verify_decrypted, found, decrypted, rules, quick=True)
        if provider is not None:
            self._observe_skew(provider.arn, (now - found.issued_at) / 1000)
        return found

    async def unverified_providers(self, unverified_response: str, source: Source) -> tuple[str, ...]:
        """ARNs of the providers that a response claims to come from: only for look-ups, never for trust.

        Sources take turns, as in `verify`.

        Raises DaypassError(INVALID_IDENTITY_TOKEN).
        """
        return await self._heavy.compute(source.lane, claimed_providers, unverified_response, quick=True)

    async def check_provider_unchanged(self, assertion: Assertion, provider: SamlProvider, now: int) -> None:
        """Whether `provider`, as it is now, would still vouch for an assertion that was verified a while ago.

        Raises DaypassError(INVALID_IDENTITY_TOKEN) when it has another issuer, or no longer the key that signed.
        """
        metadata = await self._usable_metadata(provider, now)
        if assertion.issuer != metadata.entity_id or assertion.key not in map(key_digest, metadata.certificates):
            raise not_signed("the provider has changed since: another issuer, or without the key that signed")

    # --- our addresses and names

    def acs_url(self, provider: SamlProvider | None = None) -> str:
        """The address to which browsers post responses: one for all providers, or this provider's own."""
        return f"{self._base}/saml/acs{_own_path(provider)}" if self._base else ""

    # --- verification

    async def _rules(self, provider: SamlProvider | None, now: int, arrival: SamlArrival) -> SamlRules:
        """An unusable provider is part of the rules, because the form of the response is checked first."""
        metadata = await self._metadata_at(provider, now) if provider is not None else "no such provider"
        return SamlRules(
            metadata=metadata,
            provider_id=provider.id if provider else "",
            only_encrypted=provider is not None and provider.encryption_mode == "Required",
            arrival_url=arrival.url,
            addresses=(self.acs_url(), self.acs_url(provider)) if self._base else (),
            entity_id=self.entity_id,
            aws_addresses=self._aws,
            request_id=arrival.request_id,
            now=now,
        )

    async def _metadata_at(self, provider: SamlProvider, now: int) -> SamlMetadataView | str:
        """The provider's metadata at `now` (ms), or why it cannot be used."""
        document, metadata = self._views.get(provider.id, ("", ""))
        if document != provider.metadata:
            metadata = await self._heavy.compute(provider.account, _read_metadata, provider.metadata, quick=True)
            self._views[provider.id] = (provider.metadata, metadata)
            while len(self._views) > _MAX_METADATA:
                self._views.popitem(last=False)
        ends = (provider.valid_until, metadata.valid_until) if not isinstance(metadata, str) else ()
        return "the provider's metadata has expired (validUntil)" if any(0 < end <= now for end in ends) else metadata

    async def _usable_metadata(self, provider: SamlProvider, now: int) -> SamlMetadataView:
        """The same. Raises DaypassError(INVALID_IDENTITY_TOKEN) when it cannot be used."""
        metadata = await self._metadata_at(provider, now)
        if isinstance(metadata, str):
            raise not_signed(metadata)
        return metadata

    async def _decrypted(self, encrypted: Encrypted, provider: SamlProvider | None, source: str) -> bytes:
        """The assertion that was encrypted. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
        assert provider is not None  # a response without one is refused before
        try:
            return await _THREAD.run(
                source, lambda _: decrypt(encrypted.ciphertext, [key for key, _ in self._private_keys(provider)])
            )
        except Undecryptable:
            raise not_signed("decryption") from None

    def _private_keys(self, provider: SamlProvider) -> list[tuple[rsa.RSAPrivateKey, int]]:
        """The provider's keys that can be opened here, each with the time (ms) of its upload."""
        keys = []
        for _, added_at, sealed in provider.private_keys:
            try:
                key = load_key(self._sealer.open_secret(base64.b64decode(sealed), provider.account, provider.id))
            except ValueError:
                continue  # sealed by an unknown key: another private key may still open the assertion
            keys.append((key, int(added_at)))
        return keys

    # --- our own metadata

    async def request_url(
        self, provider: SamlProvider, request_id: str, relay_state: str, now: int, *, again: bool = False
    ) -> str:
        """The URL at which a browser starts the login, with our AuthnRequest; "" when the provider has no such
        address. `again`: the provider is asked to authenticate the person again (ForceAuthn).

        Source: SAML V2.0 bindings, section 3.4 (HTTP-Redirect, DEFLATE).

        The request names no response address, because providers use the one in our metadata.
        """
        where = (await self._usable_metadata(provider, now)).sso_url
        if not where or not self._base:
            return ""
        at = iso_time(now // 1000)
        force = ' ForceAuthn="true"' if again else ""
        request = (
            '<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
            'xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" '
            f'ID={quoteattr(request_id)} Version="2.0" IssueInstant="{at}" Destination={quoteattr(where)}{force}>'
            f"<saml:Issuer>{escape(self.entity_id)}</saml:Issuer></samlp:AuthnRequest>"
        )
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = deflater.compress(request.encode()) + deflater.flush()
        query = urlencode({"SAMLRequest": base64.b64encode(packed).decode("ascii"), "RelayState": relay_state})
        return f"{where}{'&' if '?' in where else '?'}{query}"

    async def metadata(self, provider: SamlProvider | None = None) -> bytes:
        """Our own metadata; with a provider, its address and the keys that its assertions may be encrypted for."""
        return await asyncio.to_thread(self._metadata_of_ours, provider)

    def _metadata_of_ours(self, provider: SamlProvider | None) -> bytes:
        certificates: Sequence[bytes] = ()
        if provider is not None:
            certificates = [certificate_of(key, provider, at) for key, at in self._private_keys(provider)]
        own = saml_metadata.OwnMetadata(self.entity_id, self.acs_url(provider), tuple(certificates))
        return saml_metadata.write(own)


# --- The provider ----------------------------------------------------------------------------------------------------


def _read_metadata(document: str) -> SamlMetadataView | str:
    """The metadata, or why it cannot be used."""
    try:
        return saml_metadata.read(document)
    except BadXml as error:
        return f"metadata: {error}"


def _own_path(provider: SamlProvider | None) -> str:
    return "" if provider is None else f"/{provider.account}/{quote(provider.name, safe='')}"
