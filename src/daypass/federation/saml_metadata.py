"""Metadata of SAML 2.0: reads that of identity providers, writes our own. Source: SAML V2.0 Metadata
(saml-metadata-2.0-os).

Keys come from here and from nowhere else. It must never fetch a document, and it ignores the chain and dates of
certificates: a certificate in metadata only conveys a key, and is valid as long as the metadata contains it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree

from daypass.domain.jws import MIN_BITS, refusal_of_rsa
from daypass.federation.saml_xml import DS, MD, BadXml, parse, text_of
from daypass.ports.certificates import SamlMetadataView

PROTOCOL: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
_REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
MAX_KEYS: Final = 10
_LARGEST_OWN: Final = 4096  # of our keys: any sender can cause their use, and the time grows with the cube of the size
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_MAX_ENTITY_ID: Final = 1024
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,2048}")  # it becomes a header line
_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,20}))?Z"
)  # a pattern, as strptime takes twenty times as long


class SamlMetadata:
    """Reads metadata documents of SAML identity providers."""

    def read(self, unverified_document: str) -> SamlMetadataView:
        """Raises ValueError with a reason for the author of the document."""
        return read(unverified_document)

    def check_private_key(self, unverified_pem: str) -> None:
        """Raises ValueError with the reason when this is not a key (PEM) that could decrypt assertions.

        Keys protected by a password are refused.
        """
        pem = unverified_pem.encode("utf-8", "surrogatepass")
        try:
            key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("the private key is not one in PEM without a password") from None
        if not isinstance(key, rsa.RSAPrivateKey) or not MIN_BITS <= key.key_size <= _LARGEST_OWN:
            raise ValueError(f"the private key is not RSA of {MIN_BITS} to {_LARGEST_OWN} bits")
        if refusal := refusal_of_rsa(key.key_size, key.public_key().public_numbers().e):
            raise ValueError(f"the private key is an RSA key {refusal}")
        try:  # now that the size says that it will not take long
            serialization.load_pem_private_key(pem, password=None)
        except ValueError:
            raise ValueError("the private key is not an RSA key: its numbers do not fit") from None


def read(unverified_document: str) -> SamlMetadataView:
    """Reads the one identity provider of the metadata. Raises BadXml (a ValueError) when it is of no use."""
    root = parse(unverified_document.encode("utf-8", "surrogatepass"), metadata=True)
    entity, role = _identity_provider(root)
    entity_id = entity.get("entityID", "")
    if not entity_id or len(entity_id) > _MAX_ENTITY_ID or not entity_id.isprintable():
        raise BadXml(f"its entityID is empty or over {_MAX_ENTITY_ID} characters")
    certificates = tuple(dict.fromkeys(_signing_certificates(role)))
    if not certificates:
        raise BadXml("it has no X509Certificate of a signing key")
    if len(certificates) > MAX_KEYS:
        raise BadXml(f"it has more than {MAX_KEYS} signing keys")
    for certificate in certificates:
        usable_key(certificate)
    ends = [time for element in (root, entity, role) if (time := _valid_until(element))]
    return SamlMetadataView(entity_id, certificates, min(ends, default=0), _sso_url(role))


def usable_key(certificate: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """The public key of a certificate (DER), if it is of a kind and size that may sign. Raises BadXml."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise BadXml("an X509Certificate in it cannot be read") from None
    if isinstance(key, rsa.RSAPublicKey):
        if refusal := refusal_of_rsa(key.key_size, key.public_numbers().e):
            raise BadXml(f"a signing key in it is an RSA key {refusal}")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise BadXml("a signing key in it is neither RSA nor on P-256, P-384 or P-521")


def _identity_provider(root: etree._Element) -> tuple[etree._Element, etree._Element]:
    """EntityDescriptor and IDPSSODescriptor of the one identity provider that speaks SAML 2.0."""
    if root.tag not in (f"{MD}EntityDescriptor", f"{MD}EntitiesDescriptor"):
        raise BadXml("its root is not an EntityDescriptor")
    found = [
        (entity, role)
        for entity in root.iter(f"{MD}EntityDescriptor")
        for role in entity.findall(f"{MD}IDPSSODescriptor")
        if PROTOCOL in role.get("protocolSupportEnumeration", "").split()
    ]
    if len(found) != 1:
        raise BadXml(f"it has {len(found)} IDPSSODescriptor elements for SAML 2.0 where there must be one")
    return found[0]


def _signing_certificates(role: etree._Element) -> Iterator[bytes]:
    for descriptor in role.findall(f"{MD}KeyDescriptor"):
        if descriptor.get("use", "signing") != "signing":
            continue
        for element in descriptor.iter(f"{DS}X509Certificate"):
            try:
                yield base64.b64decode("".join(text_of(element).split()), validate=True)
            except ValueError:
                raise BadXml("an X509Certificate in it is not base64") from None


def _valid_until(element: etree._Element) -> int:
    text = element.get("validUntil")
    return 0 if text is None else read_time(text)


def read_time(text: str) -> int:
    """An xs:dateTime in UTC as milliseconds. Raises BadXml for anything else, a time without zone included."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        *whole, fraction = match.groups(default="")
        year, month, day, hour, minute, second = map(int, whole)
        seconds = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise BadXml("a time in it is not of the form 2026-01-31T12:00:00Z") from None
    return int(seconds) * 1000 + int(fraction[:3].ljust(3, "0"))


def _sso_url(role: etree._Element) -> str:
    for service in role.findall(f"{MD}SingleSignOnService"):
        location: str = service.get("Location", "")
        if service.get("Binding") == _REDIRECT and _ADDRESS.fullmatch(location):
            return location
    return ""


# --- Our own ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnMetadata:
    """The content of our metadata: our identity, the response address, and the key for encrypting assertions (DER)."""

    entity_id: str
    acs_url: str
    certificates: tuple[bytes, ...] = ()


def write(own: OwnMetadata) -> bytes:
    """The metadata of this service provider: assertions signed, and encrypted where there is a key for it."""
    keys = "".join(
        '<md:KeyDescriptor use="encryption"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>'
        f"{base64.b64encode(certificate).decode('ascii')}"
        "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        '<md:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"/>'
        '<md:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/></md:KeyDescriptor>'
        for certificate in own.certificates
    )
    formats = "".join(
        f"<md:NameIDFormat>urn:oasis:names:tc:SAML:{name}</md:NameIDFormat>"
        for name in ("2.0:nameid-format:persistent", "2.0:nameid-format:transient", "1.1:nameid-format:emailAddress")
    )
    wanted = "".join(
        f'<md:RequestedAttribute Name="https://aws.amazon.com/SAML/Attributes/{name}" FriendlyName="{name}" '
        f'isRequired="{required}"/>'
        for name, required in (("Role", "true"), ("RoleSessionName", "true"), ("SessionDuration", "false"))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
        f'xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID={quoteattr(own.entity_id)}>'
        f'<md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" '
        f'protocolSupportEnumeration="{PROTOCOL}">{keys}{formats}'
        f'<md:AssertionConsumerService Binding="{_POST}" Location={quoteattr(own.acs_url)} index="1" isDefault="true"/>'
        f'<md:AttributeConsumingService index="1"><md:ServiceName xml:lang="en">{escape("Daypass")}</md:ServiceName>'
        f"{wanted}</md:AttributeConsumingService></md:SPSSODescriptor></md:EntityDescriptor>\n"
    ).encode()
