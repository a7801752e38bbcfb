"""A SAML identity provider on this machine that signs as the real ones do: RSA-SHA256 over the assertion, and metadata.

It knows its people by what it is told. It stands in for Okta, Entra ID, Keycloak and their kin.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, SignatureConstructionMethod
from signxml.signer import XMLSigner

ATTRIBUTES = "https://aws.amazon.com/SAML/Attributes/"
_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_SAML = "urn:oasis:names:tc:SAML:2.0"


class IdentityProvider:
    """Signs with its newest key; metadata names those that it signs with or will."""

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self._keys: list[tuple[rsa.RSAPrivateKey, x509.Certificate]] = []
        self.new_key()

    def new_key(self) -> None:
        key = rsa.generate_private_key(65_537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sso.example.com")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        dated = builder.not_valid_before(now).not_valid_after(now + timedelta(days=365))
        made = dated.sign(key, hashes.SHA256())
        self._keys.append((key, made))

    def metadata(self) -> str:
        keys = "".join(
            f'<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{_DSIG}"><ds:X509Data><ds:X509Certificate>'
            f"{base64.b64encode(made.public_bytes(Encoding.DER)).decode()}"
            "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            for _, made in self._keys
        )
        return (
            f'<?xml version="1.0"?><md:EntityDescriptor xmlns:md="{_SAML}:metadata" entityID={quoteattr(self.entity_id)}>'
            f'<md:IDPSSODescriptor protocolSupportEnumeration="{_SAML}:protocol">{keys}<md:SingleSignOnService '
            f'Binding="{_SAML}:bindings:HTTP-Redirect" Location="https://sso.example.com/saml"/>'
            "</md:IDPSSODescriptor></md:EntityDescriptor>"
        )

    def response(self, person: str, acs: str, audience: str, attributes: Mapping[str, Sequence[str]]) -> str:
        """The form that this person's browser posts to `acs`: SAMLResponse, in base64."""
        now = datetime.now(UTC)
        identity = f"_{uuid.uuid4().hex}"
        assertion = self._signed(self._assertion(identity, person, now, acs, audience, attributes), identity)
        return base64.b64encode(
            (
                f'<samlp:Response xmlns:samlp="{_SAML}:protocol" xmlns:saml="{_SAML}:assertion" ID="_{uuid.uuid4().hex}" '
                f'Version="2.0" IssueInstant="{_time(now)}" Destination={quoteattr(acs)}>'
                f"<saml:Issuer>{escape(self.entity_id)}</saml:Issuer>"
                f'<samlp:Status><samlp:StatusCode Value="{_SAML}:status:Success"/></samlp:Status>'
                f"{assertion}</samlp:Response>"
            ).encode()
        ).decode()

    def _assertion(
        self,
        identity: str,
        person: str,
        now: datetime,
        acs: str,
        audience: str,
        attributes: Mapping[str, Sequence[str]],
    ) -> str:
        until = _time(now + timedelta(minutes=5))
        stated = "".join(
            f"<saml:Attribute Name={quoteattr(ATTRIBUTES + name)}>"
            + "".join(f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue>" for value in values)
            + "</saml:Attribute>"
            for name, values in attributes.items()
        )
        return (
            f'<saml:Assertion xmlns:saml="{_SAML}:assertion" ID="{identity}" Version="2.0" IssueInstant="{_time(now)}">'
            f'<saml:Issuer>{escape(self.entity_id)}</saml:Issuer><ds:Signature xmlns:ds="{_DSIG}" Id="placeholder"/>'
            f'<saml:Subject><saml:NameID Format="{_SAML}:nameid-format:persistent">{escape(person)}</saml:NameID>'
            f'<saml:SubjectConfirmation Method="{_SAML}:cm:bearer"><saml:SubjectConfirmationData '
            f'NotOnOrAfter="{until}" Recipient={quoteattr(acs)}/></saml:SubjectConfirmation></saml:Subject>'
            f'<saml:Conditions NotBefore="{_time(now)}" NotOnOrAfter="{until}"><saml:AudienceRestriction>'
            f"<saml:Audience>{escape(audience)}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{_time(now)}"><saml:AuthnContext><saml:AuthnContextClassRef>'
            f"{_SAML}:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
            f"<saml:AttributeStatement>{stated}</saml:AttributeStatement></saml:Assertion>"
        )

    def _signed(self, assertion: str, identity: str) -> str:
        key, made = self._keys[-1]
        signer = XMLSigner(
            method=SignatureConstructionMethod.enveloped,
            signature_algorithm="rsa-sha256",
            digest_algorithm="sha256",
            c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        )
        signed = signer.sign(
            etree.fromstring(assertion), key=key, cert=[made], reference_uri=f"#{identity}", id_attribute="ID"
        )
        return str(etree.tostring(signed, encoding="unicode"))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
