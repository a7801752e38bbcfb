"""The SAML 2.0 service provider: from a response in base64 to verified facts, in one order and with no way around.

Form first, then the signature, then what it says. Until a signature holds, a refusal tells of the document alone: whether
there is such a provider, and what it expects, stays untold. Whatever is read as a fact is read from bytes that a signature
covered, parsed anew; the document as it came serves only to refuse it.
"""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree

from daypass.domain.assertion import ATTRIBUTES, Assertion, refuse, role_pairs
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.federation import saml_facts, saml_metadata
from daypass.federation.saml_decrypt import Undecryptable, certificate_of, check_encrypted, decrypt, load_key
from daypass.federation.saml_facts import Expected
from daypass.federation.saml_signature import SIGNATURE, BadSignature, Signed, check_profile, key_digest, verify
from daypass.federation.saml_xml import SAML, SAMLP, BadXml, check_ids, only, parse, standing_alone, text_of
from daypass.ports import SamlArrival, SamlMetadataView, Sealer

MAX_TEXT: Final = 100_000  # characters of base64 (STS model, SAMLAssertionType)
_RESPONSE: Final = f"{SAMLP}Response"
_ASSERTION: Final = f"{SAML}Assertion"
_ENCRYPTED: Final = f"{SAML}EncryptedAssertion"
_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_STATUS = re.compile(r"urn:oasis:names:tc:SAML:2\.0:status:[A-Za-z]{1,32}")
_AWS_ADDRESS = re.compile(
    r"https://(?:[a-z]{2}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}\.)?signin\.aws\.amazon\.com(?:/static)?/saml"
    r"(?:/acs/(?P<provider>[A-Z0-9]{16,32}))?"
)
_AWS_NAME: Final = "urn:amazon:webservices"
_NOT_SIGNED: Final = (
    "Response signature invalid: the specified provider does not exist, has another issuer, or has none of the keys that "
    "signed or encrypted this response"
)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A response whose form has been checked, and nothing else."""

    response: etree._Element
    assertion: etree._Element  # an Assertion or an EncryptedAssertion, a child of the response
    response_signed: bool
    assertion_signed: bool

    @property
    def encrypted(self) -> bool:
        return bool(self.assertion.tag == _ENCRYPTED)


class SamlServiceProvider:
    """The `SamlVerifier` port.

    Args:
        sealer: opens the private keys of providers.
        public_url: the installation's address for browsers, without a slash at its end; "" for none.
        aws_addresses: whether what is made for AWS's own sign-in address is taken, as clients of AWS have it.
        observe_skew: called for each verified response with the provider's ARN and its age in seconds.
    """

    def __init__(
        self,
        sealer: Sealer,
        public_url: str = "",
        *,
        aws_addresses: bool = True,
        observe_skew: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._sealer = sealer
        self._observe_skew = observe_skew
        self._base = public_url.rstrip("/")
        self._aws = aws_addresses
        self.entity_id = f"{self._base}/saml/metadata" if self._base else ""

    async def verify(
        self, unverified_response: str, provider: SamlProvider | None, now: int, arrival: SamlArrival
    ) -> Assertion:
        """See `ports.SamlVerifier.verify`. The work is done on a thread: it takes milliseconds of computing."""
        found = await asyncio.to_thread(self._verify, unverified_response, provider, now, arrival)
        if provider is not None:
            self._observe_skew(provider.arn, (now - found.issued_at) / 1000)
        return found

    async def unverified_providers(self, unverified_response: str) -> tuple[str, ...]:
        """See `ports.SamlVerifier.unverified_providers`."""
        return await asyncio.to_thread(_claimed_providers, unverified_response)

    async def check_standing(self, assertion: Assertion, provider: SamlProvider, now: int) -> None:
        """See `ports.SamlVerifier.check_standing`."""
        metadata = await asyncio.to_thread(_metadata, provider, now)
        if assertion.issuer != metadata.entity_id or assertion.key not in map(key_digest, metadata.certificates):
            raise _not_signed("the provider has changed since: another issuer, or without the key that signed")

    # --- our addresses and names

    def acs_url(self, provider: SamlProvider | None = None) -> str:
        """See `ports.SamlVerifier.acs_url`."""
        return f"{self._base}/saml/acs{_own_path(provider)}" if self._base else ""

    def _is_recipient(self, url: str, provider: SamlProvider, arrival: SamlArrival) -> bool:
        if arrival.url:
            return url == arrival.url
        if url and url in (self.acs_url(), self.acs_url(provider)):
            return True
        found = _AWS_ADDRESS.fullmatch(url) if self._aws else None
        return found is not None and found["provider"] in (None, provider.id)

    def _is_audience(self, name: str, provider: SamlProvider) -> bool:
        if name and name == self.entity_id:
            return True
        return self._aws and (name == _AWS_NAME or self._is_recipient(name, provider, SamlArrival()))

    # --- verification

    def _verify(self, unverified: str, provider: SamlProvider | None, now: int, arrival: SamlArrival) -> Assertion:
        try:
            opened = _open(unverified)
            _check_status(opened.response)
            if provider is None:
                raise _not_signed("no such provider")
            metadata = _metadata(provider, now)
            expected = Expected(
                issuer=metadata.entity_id,
                now=now,
                is_recipient=lambda url: self._is_recipient(url, provider, arrival),
                is_audience=lambda name: self._is_audience(name, provider),
                request_id=arrival.request_id,
                from_browser=bool(arrival.url),
            )
            signed, response = self._signed(opened, provider, metadata)
            _check_encryption(opened, provider)
            _check_response(response, expected)
            return saml_facts.read(signed.element, signed.key, expected)
        except BadXml as error:
            raise refuse(f"The SAML response is not valid: {error}") from None
        except BadSignature:
            raise _not_signed("signature") from None
        except Undecryptable:
            raise _not_signed("decryption") from None

    def _signed(
        self, opened: _Opened, provider: SamlProvider, metadata: SamlMetadataView
    ) -> tuple[Signed, etree._Element]:
        """The assertion as signed, and the response: as signed where it is, else as it came."""
        if not opened.encrypted:
            _check_unverified_issuer(opened.assertion, metadata)
        response, inherited = opened.response, ""
        if opened.response_signed:
            response, inherited = verify(opened.response, metadata.certificates)
        assertion, own = opened.assertion, opened.assertion_signed
        if opened.encrypted:
            keys = [key for key, _ in self._private_keys(provider)]
            assertion = _assertion_of(decrypt(_the_assertion(response), keys))
            own = check_profile(assertion)
        elif not own:
            assertion = _the_assertion(response)
        if own:
            return verify(assertion, metadata.certificates), response
        if not inherited:
            raise BadSignature
        return Signed(parse(standing_alone(assertion)), inherited), response

    def _private_keys(self, provider: SamlProvider) -> list[tuple[rsa.RSAPrivateKey, int]]:
        """The provider's keys that can be opened here, each with the time (ms) of its upload."""
        keys = []
        for _, added_at, sealed in provider.private_keys:
            try:
                key = load_key(self._sealer.open_secret(base64.b64decode(sealed), provider.account, provider.id))
            except ValueError:
                continue  # sealed by a key that is not here: another one may still open the assertion
            keys.append((key, int(added_at)))
        return keys

    # --- what we tell of ourselves

    async def request_url(self, provider: SamlProvider, request_id: str, relay_state: str, now: int) -> str:
        """See `ports.SamlVerifier.request_url`. Source: SAML V2.0 bindings, section 3.4 (HTTP-Redirect, DEFLATE).

        The request names no address for its response: providers answer to the one that they know from our metadata.
        """
        where = (await asyncio.to_thread(_metadata, provider, now)).sso_url
        if not where or not self._base:
            return ""
        at = datetime.fromtimestamp(now // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        request = (
            '<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
            'xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" '
            f'ID={quoteattr(request_id)} Version="2.0" IssueInstant="{at}" Destination={quoteattr(where)}>'
            f"<saml:Issuer>{escape(self.entity_id)}</saml:Issuer></samlp:AuthnRequest>"
        )
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = deflater.compress(request.encode()) + deflater.flush()
        query = urlencode({"SAMLRequest": base64.b64encode(packed).decode("ascii"), "RelayState": relay_state})
        return f"{where}{'&' if '?' in where else '?'}{query}"

    async def metadata(self, provider: SamlProvider | None = None) -> bytes:
        """See `ports.SamlVerifier.metadata`."""
        return await asyncio.to_thread(self._metadata_of_ours, provider)

    def _metadata_of_ours(self, provider: SamlProvider | None) -> bytes:
        certificates: Sequence[bytes] = ()
        if provider is not None:
            certificates = [certificate_of(key, provider, at) for key, at in self._private_keys(provider)]
        own = saml_metadata.OwnMetadata(self.entity_id, self.acs_url(provider), tuple(certificates))
        return saml_metadata.write(own)


# --- Form ------------------------------------------------------------------------------------------------------------


def _open(unverified: str) -> _Opened:
    """A response whose form is one that is read here. Raises BadXml."""
    response = parse(_decoded(unverified))
    check_ids(response)
    if response.tag != _RESPONSE or response.get("Version") != "2.0":
        raise BadXml("it is not a Response of version 2.0")
    _check_status(response)
    assertion = _the_assertion(response)
    response_signed = check_profile(response)
    if assertion.tag == _ENCRYPTED:
        check_encrypted(assertion, covered=response_signed)
        assertion_signed = False
    else:
        assertion_signed = check_profile(assertion)
        if not response_signed and not assertion_signed:
            raise BadXml("neither the response nor its assertion is signed")
    if sum(1 for _ in response.iter(SIGNATURE)) != response_signed + assertion_signed:
        raise BadXml("it has a signature where none may be")
    return _Opened(response, assertion, response_signed, assertion_signed)


def _decoded(unverified: str) -> bytes:
    if len(unverified) > MAX_TEXT:
        raise BadXml(f"it is over {MAX_TEXT} characters")
    try:
        return base64.b64decode("".join(unverified.split()).encode("ascii"), validate=True)
    except ValueError:
        raise BadXml("it is not base64") from None


def _the_assertion(response: etree._Element) -> etree._Element:
    """The one assertion of a response, plain or encrypted, and a child of it: another one anywhere is refused."""
    every = list(response.iter(_ASSERTION, _ENCRYPTED))
    if len(every) != 1 or every[0].getparent() is not response:
        raise BadXml("it must have exactly one assertion")
    return every[0]


def _assertion_of(decrypted: bytes) -> etree._Element:
    """The assertion that was encrypted, in the same form as one that was not."""
    try:
        assertion = parse(decrypted)
        check_ids(assertion)
        nested = sum(1 for _ in assertion.iter(_ASSERTION, _ENCRYPTED))
        signatures = sum(1 for _ in assertion.iter(SIGNATURE))
        if assertion.tag != _ASSERTION or nested != 1 or signatures != check_profile(assertion):
            raise Undecryptable
    except BadXml:  # what is in it is not told to who may have altered it
        raise Undecryptable from None
    return assertion


def _check_status(response: etree._Element) -> None:
    code = only(only(response, f"{SAMLP}Status"), f"{SAMLP}StatusCode")
    if code.get("Value") != _SUCCESS:
        inner = code.find(f"{SAMLP}StatusCode")
        told = (inner if inner is not None else code).get("Value", "")
        shown = f" ({told})" if _STATUS.fullmatch(told) else ""
        raise DaypassError(
            ErrorKind.IDP_REJECTED_CLAIM, f"The identity provider reported that authentication failed{shown}"
        )


def _claimed_providers(unverified: str) -> tuple[str, ...]:
    try:
        assertion = _open(unverified).assertion
        values = [
            text_of(value)
            for attribute in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute")
            if attribute.get("Name") == f"{ATTRIBUTES}Role"
            for value in attribute.findall(f"{SAML}AttributeValue")
        ]
    except BadXml as error:
        raise refuse(f"The SAML response is not valid: {error}") from None
    return tuple(dict.fromkeys(provider for _, provider in role_pairs(tuple(values))))


# --- The provider ----------------------------------------------------------------------------------------------------


def _metadata(provider: SamlProvider, now: int) -> SamlMetadataView:
    try:
        metadata = saml_metadata.read(provider.metadata)
    except BadXml as error:
        raise _not_signed(f"metadata: {error}") from None
    if now >= provider.valid_until or (metadata.valid_until and now >= metadata.valid_until):
        raise _not_signed("the provider's metadata has expired (validUntil)")
    return metadata


def _check_unverified_issuer(assertion: etree._Element, metadata: SamlMetadataView) -> None:
    """Spares the work on a response of somebody else; the signed issuer is checked again."""
    if text_of(only(assertion, f"{SAML}Issuer")).strip() != metadata.entity_id:
        raise _not_signed("issuer")


def _check_encryption(opened: _Opened, provider: SamlProvider) -> None:
    if provider.encryption_mode == "Required" and not opened.encrypted:
        raise refuse("The specified provider takes encrypted assertions only")


def _check_response(response: etree._Element, expected: Expected) -> None:
    """What the response around the assertion says. Where it is not signed it can only make for a refusal."""
    issuer = response.find(f"{SAML}Issuer")
    if issuer is not None:
        saml_facts.check_issuer(text_of(issuer), expected)
    destination = response.get("Destination", "")
    if destination and not expected.is_recipient(destination):
        raise refuse(f"The Destination of the response, '{destination[:256]}', is not an address of this service")
    answers = response.get("InResponseTo")
    if answers is not None:
        saml_facts.check_answers(answers, expected)


def _own_path(provider: SamlProvider | None) -> str:
    return "" if provider is None else f"/{provider.account}/{quote(provider.name, safe='')}"


def _not_signed(reason: str) -> DaypassError:
    return refuse(_NOT_SIGNED, reason=reason)
