"""A SAML identity provider for tests: it signs and encrypts as real ones do, and as no honest one would.

It builds text, so that a test can put anything anywhere; signing is signxml's, encrypting is `cryptography`'s.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.signer import XMLSigner

NOW = 1_800_000_000_000
ISSUER = "https://idp.example.com/metadata"
AWS_ACS = "https://signin.aws.amazon.com/saml"
AWS = "urn:amazon:webservices"
AWS_ATTRIBUTES = "https://aws.amazon.com/SAML/Attributes/"
NS = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
_PLACE = '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="placeholder"></ds:Signature>'
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def when(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@cache  # making RSA keys is slow; by name, the same one again
def rsa_key(name: str = "first") -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(name: str = "first") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(key: Key) -> x509.Certificate:
    """Expired long ago, as those in metadata often are."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    begins = dt.datetime(2015, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, begins, begins + dt.timedelta(days=365))
    return builder.sign(key, hashes.SHA256())


def certificate_text(key: Key) -> str:
    return base64.b64encode(certificate(key).public_bytes(Encoding.DER)).decode()


def metadata(
    keys: Sequence[Key] = (), issuer: str = ISSUER, *, sso: str = "https://idp.example.com/sso", valid_until: str = ""
) -> str:
    """The identity provider's metadata, with these signing keys."""
    descriptors = "".join(
        '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{certificate_text(key)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for key in (keys or (rsa_key(),))
    )
    until = f' validUntil="{valid_until}"' if valid_until else ""
    return (
        f'<?xml version="1.0"?><md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
        f'entityID="{escape(issuer)}"{until}><md:IDPSSODescriptor '
        f'protocolSupportEnumeration="{NS["samlp"]}">{descriptors}'
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{escape(sso)}"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    )


@dataclass
class Response:
    """One response to be. Every field may be set to what no honest provider would send."""

    roles: Sequence[str] = ()
    session_name: str = "ann"
    subject: str = "ann@example.com"
    name_format: str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
    issuer: str = ISSUER
    recipient: str = AWS_ACS
    destination: str | None = AWS_ACS
    audience: str = AWS
    now: int = NOW
    issued_at: int = 0
    not_before: int = 0
    not_on_or_after: int = 0
    session_ends_at: int = 0
    authenticated_at: int = 0
    in_response_to: str = ""
    assertion_id: str = "_assertion-1"
    response_id: str = "_response-1"
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success"
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plain_subject: bool = True  # False: `subject` is XML

    def assertion(self, signature: str = _PLACE) -> str:
        answers = f' InResponseTo="{self.in_response_to}"' if self.in_response_to else ""
        ends = self.not_on_or_after or self.now + 300_000
        session = f' SessionNotOnOrAfter="{when(self.session_ends_at)}"' if self.session_ends_at else ""
        subject = escape(self.subject) if self.plain_subject else self.subject
        return (
            f'<saml:Assertion xmlns:saml="{NS["saml"]}" ID="{self.assertion_id}" Version="2.0" '
            f'IssueInstant="{when(self.issued_at or self.now)}"><saml:Issuer>{escape(self.issuer)}</saml:Issuer>{signature}'
            f'<saml:Subject><saml:NameID Format="{self.name_format}">{subject}</saml:NameID>'
            '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData '
            f'NotOnOrAfter="{when(ends)}" Recipient="{escape(self.recipient)}"{answers}/></saml:SubjectConfirmation>'
            f'</saml:Subject><saml:Conditions NotBefore="{when(self.not_before or self.now - 1000)}" '
            f'NotOnOrAfter="{when(ends)}"><saml:AudienceRestriction><saml:Audience>{escape(self.audience)}'
            "</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{when(self.authenticated_at or self.now)}"{session}><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>"
            f"</saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>{self._attributes()}"
            "</saml:AttributeStatement></saml:Assertion>"
        )

    def _attributes(self) -> str:
        every: dict[str, Sequence[str]] = {
            f"{AWS_ATTRIBUTES}Role": self.roles,
            f"{AWS_ATTRIBUTES}RoleSessionName": [self.session_name],
            **{
                name if ":" in name and "Tag" not in name else AWS_ATTRIBUTES + name: v
                for name, v in self.attributes.items()
            },
        }
        return "".join(
            f'<saml:Attribute Name="{escape(name)}">'
            + "".join(f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue>" for value in values)
            + "</saml:Attribute>"
            for name, values in every.items()
        )

    def wrap(self, inner: str, signature: str = "") -> str:
        to = f' Destination="{escape(self.destination)}"' if self.destination else ""
        answers = f' InResponseTo="{self.in_response_to}"' if self.in_response_to else ""
        return (
            f'<samlp:Response xmlns:samlp="{NS["samlp"]}" xmlns:saml="{NS["saml"]}" ID="{self.response_id}" Version="2.0" '
            f'IssueInstant="{when(self.now)}"{to}{answers}><saml:Issuer>{escape(self.issuer)}</saml:Issuer>{signature}'
            f'<samlp:Status><samlp:StatusCode Value="{self.status}"/></samlp:Status>{inner}</samlp:Response>'
        )

    def signed(self, key: Key | None = None, *, what: str = "assertion", **how: Any) -> str:
        """The XML of the response, signed: "assertion", "response", "both" or "none"."""
        key = key or rsa_key()
        inner = self.assertion(_PLACE if what in ("assertion", "both") else "")
        if what in ("assertion", "both"):
            inner = sign(inner, key, self.assertion_id, **how)
        if what in ("assertion", "none"):
            return self.wrap(inner)
        return sign(self.wrap(inner, _PLACE), key, self.response_id, **how)

    def encoded(self, key: Key | None = None, *, what: str = "assertion", **how: Any) -> str:
        return encode(self.signed(key, what=what, **how))

    def encrypted(self, key: Key | None, to: rsa.RSAPublicKey, *, what: str = "assertion", **how: Any) -> str:
        key = key or rsa_key()
        inner = self.assertion(_PLACE if what in ("assertion", "both") else "")
        if what in ("assertion", "both"):
            inner = sign(inner, key, self.assertion_id)
        sealed = f'<saml:EncryptedAssertion xmlns:saml="{NS["saml"]}">{encrypt(inner.encode(), to, **how)}</saml:EncryptedAssertion>'
        if what in ("response", "both"):
            return encode(sign(self.wrap(sealed, _PLACE), key, self.response_id))
        return encode(self.wrap(sealed))


def encode(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def sign(
    text: str,
    key: Key,
    reference: str,
    *,
    method: SignatureMethod | None = None,
    digest: DigestAlgorithm = DigestAlgorithm.SHA256,
    c14n: CanonicalizationMethod = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
) -> str:
    """The document with the placeholder of its root filled by an enveloped signature."""
    if method is None:
        method = SignatureMethod.RSA_SHA256 if isinstance(key, rsa.RSAPrivateKey) else SignatureMethod.ECDSA_SHA256
    signer = _Any(SignatureConstructionMethod.enveloped, method, digest, c14n)
    root = signer.sign(
        etree.fromstring(text), key=key, cert=[certificate(key)], reference_uri=f"#{reference}", id_attribute="ID"
    )
    signed: bytes = etree.tostring(root)
    return signed.decode()


class _Any(XMLSigner):
    """Signs with SHA-1 too: for attacks."""

    def check_deprecated_methods(self) -> None:
        pass


def encrypt(plain: bytes, to: rsa.RSAPublicKey, *, algorithm: str = "gcm", transport: str = "oaep") -> str:
    """EncryptedData around `plain`: AES-256 in GCM or CBC, the key in RSA-OAEP (or PKCS #1 v1.5)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    secret, nonce = bytes(range(32)), bytes(range(12))
    if algorithm == "gcm":
        content = nonce + AESGCM(secret).encrypt(nonce, plain, None)
        name = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
    else:
        iv = bytes(range(16))
        count = 16 - len(plain) % 16
        sealer = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
        content = iv + sealer.update(plain + bytes(count - 1) + bytes([count])) + sealer.finalize()
        name = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    wrapped = to.encrypt(secret, oaep if transport == "oaep" else padding.PKCS1v15())
    way = "rsa-oaep-mgf1p" if transport == "oaep" else "rsa-1_5"
    return (
        '<xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" Type="http://www.w3.org/2001/04/xmlenc#Element">'
        f'<xenc:EncryptionMethod Algorithm="{name}"/><ds:KeyInfo xmlns:ds="{NS["ds"]}"><xenc:EncryptedKey>'
        f'<xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#{way}"/><xenc:CipherData><xenc:CipherValue>'
        f"{base64.b64encode(wrapped).decode()}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>"
        f"<xenc:CipherData><xenc:CipherValue>{base64.b64encode(content).decode()}</xenc:CipherValue></xenc:CipherData>"
        "</xenc:EncryptedData>"
    )
