"""Signatures of SAML: one narrow profile of XML Signature, checked piece by piece before anything is computed.

One whole element with its ID is verified, signed once, by a key of the metadata. This module must never take a key, an
algorithm or a transform because the document proposes it (attacks A29, A30), and returns nothing but what was signed:
parsed again from the very bytes that were digested. Source: SAML core, section 5.4 (saml-core-2.0-os).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.verifier import SignatureConfiguration, XMLVerifier

from daypass.federation.saml_metadata import usable_key
from daypass.federation.saml_xml import DS, BadXml, as_document, parse, text_of

SIGNATURE: Final = f"{DS}Signature"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_INCLUSIVE_PREFIXES: Final = "{http://www.w3.org/2001/10/xml-exc-c14n#}InclusiveNamespaces"
_RSA: Final = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1,
        SignatureMethod.SHA384_RSA_MGF1,
        SignatureMethod.SHA512_RSA_MGF1,
    }
)
_EC: Final = frozenset({SignatureMethod.ECDSA_SHA256, SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512})
_METHODS: Final = {method.value: method for method in _RSA | _EC}
_DIGESTS: Final = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_DIGEST_NAMES: Final = frozenset(digest.value for digest in _DIGESTS)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{4,8192}={0,2}")
_PREFIXES = re.compile(r"[\w.#-]{1,64}( [\w.#-]{1,64}){0,31}", re.ASCII)


class BadSignature(Exception):
    """The signature is well-formed and allowed, and no key of the metadata made it."""


class SignedElement(NamedTuple):
    """The signed element, and the SHA-256 of the key that signed it (hex)."""

    element: etree._Element
    key: str


class _Key(NamedTuple):
    certificate: x509.Certificate
    is_rsa: bool
    digest: str


def check_profile(element: etree._Element) -> bool:
    """Whether `element` has a signature in the supported form. Raises BadXml for any other form."""
    signatures = element.findall(SIGNATURE)
    if not signatures:
        return False
    if len(signatures) != 1:
        raise BadXml("an element of it has more than one signature")
    signature = signatures[0]
    if any(True for _ in signature.iter(etree.Comment)):
        raise BadXml("there is a comment within a signature")
    _children(signature, ("SignedInfo", "SignatureValue"), optional="KeyInfo")
    _check_signed_info(signature[0], element.get("ID", ""))
    _check_base64(signature[1])
    return True


def verify(element: etree._Element, certificates: Sequence[bytes]) -> SignedElement:
    """Returns the part of the document that the signature of `element` covers. Its profile has been checked. Raises BadSignature."""
    document = as_document(element)
    method = _METHODS[element.find(f"{SIGNATURE}/{DS}SignedInfo/{DS}SignatureMethod").get("Algorithm")]
    for certificate in certificates:
        key = _key(certificate)
        if key.is_rsa is not (method in _RSA):
            continue
        covered = _covered(document, method, key.certificate)
        if covered is None:
            continue
        signed = parse(covered)
        if signed.tag != element.tag or signed.get("ID") != element.get("ID"):
            raise BadSignature
        return SignedElement(signed, key.digest)
    raise BadSignature


def key_digest(certificate: bytes) -> str:
    """The value of `SignedElement.key` for the key in this certificate (DER). Raises BadXml when it is not usable."""
    return _key(certificate).digest


def _covered(document: bytes, method: SignatureMethod, certificate: x509.Certificate) -> bytes | None:
    """The bytes that the signature covers, if this key made it. KeyInfo is not looked at (attack A29)."""
    wanted = SignatureConfiguration(
        location="./",
        signature_methods=frozenset({method}),
        digest_algorithms=_DIGESTS,
        ignore_ambiguous_key_info=True,
        verification_time=certificate.not_valid_before_utc,  # metadata makes the key trusted, whatever its dates are
    )
    try:
        result = XMLVerifier().verify(
            document, x509_cert=certificate, expect_config=wanted, id_attribute="ID", validate_schema=False
        )
    except Exception:  # noqa: BLE001  # whatever a library makes of hostile input, it is not a valid signature
        return None
    return result.signed_data if not isinstance(result, list) else None


@lru_cache(maxsize=512)
def _key(certificate: bytes) -> _Key:
    public = usable_key(certificate)
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _Key(
        x509.load_der_x509_certificate(certificate),
        isinstance(public, rsa.RSAPublicKey),
        hashlib.sha256(spki).hexdigest(),
    )


# --- The profile -----------------------------------------------------------------------------------------------------


def _check_signed_info(signed_info: etree._Element, signed_id: str) -> None:
    _children(signed_info, ("CanonicalizationMethod", "SignatureMethod", "Reference"))
    canonical, method, reference = signed_info
    if canonical.get("Algorithm") != _EXCLUSIVE:
        raise BadXml("its signature is not canonicalised by exclusive XML canonicalisation")
    _check_prefixes(canonical)
    if method.get("Algorithm") not in _METHODS or len(method):
        raise BadXml("its signature algorithm is not allowed; RSA or ECDSA with SHA-256 or more is")
    if not signed_id or reference.get("URI") != f"#{signed_id}":
        raise BadXml("a signature does not refer to the element that it stands in")
    _children(reference, ("Transforms", "DigestMethod", "DigestValue"))
    transforms, digest, value = reference
    if digest.get("Algorithm") not in _DIGEST_NAMES or len(digest):
        raise BadXml("its digest algorithm is not allowed; SHA-256 or more is")
    _check_base64(value)
    _check_transforms(transforms)


def _check_transforms(transforms: etree._Element) -> None:
    _children(transforms, ("Transform", "Transform"))
    enveloped, canonical = transforms
    if (enveloped.get("Algorithm"), canonical.get("Algorithm")) != (_ENVELOPED, _EXCLUSIVE) or len(enveloped):
        raise BadXml("a signature has other transforms than enveloped-signature and exclusive canonicalisation")
    _check_prefixes(canonical)


def _check_prefixes(canonical: etree._Element) -> None:
    """The one parameter that exclusive canonicalisation has."""
    if not len(canonical):
        return
    if len(canonical) > 1 or canonical[0].tag != _INCLUSIVE_PREFIXES or len(canonical[0]):
        raise BadXml("its canonicalisation has parameters that are not allowed")
    if not _PREFIXES.fullmatch(canonical[0].get("PrefixList", "")):
        raise BadXml("a PrefixList in it is not a list of prefixes")


def _check_base64(element: etree._Element) -> None:
    if not _BASE64.fullmatch("".join(text_of(element).split())):
        raise BadXml("a value of its signature is not base64")


def _children(element: etree._Element, names: tuple[str, ...], *, optional: str = "") -> None:
    """Refuses children other than these, in this order."""
    tags = tuple(child.tag for child in element)
    wanted = tuple(DS + name for name in names)
    if tags != wanted and not (optional and tags == (*wanted, DS + optional)):
        raise BadXml(f"the {etree.QName(element).localname} of its signature does not have the elements that it must")
