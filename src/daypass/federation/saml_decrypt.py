"""Encrypted assertions: XML Encryption, as far as SAML needs it. Source: xmlenc-core1, SAML V2.0 core section 6.

AES-GCM with the key in RSA-OAEP. With AES-CBC, a sender who can alter a ciphertext can learn its content, so it is
accepted only where a verified signature covers the ciphertext. RSA with PKCS #1 v1.5 padding is never accepted. All
failures are the same error.

The XML is read by `read_encrypted`, where there is no private key; `decrypt` gets plain values.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from lxml import etree

from daypass.domain.directory import SamlProvider
from daypass.domain.jws import refusal_of_rsa
from daypass.federation.saml_xml import DS, XENC, BadXml, only, text_of

_XENC11: Final = "http://www.w3.org/2009/xmlenc11#"
_XENC_URI: Final = XENC.strip("{}")
_GCM: Final = {f"{_XENC11}aes{bits}-gcm": bits // 8 for bits in (128, 192, 256)}
_CBC: Final = {f"{_XENC_URI}aes{bits}-cbc": bits // 8 for bits in (128, 192, 256)}
_SHA1: Final = "http://www.w3.org/2000/09/xmldsig#sha1"
_MGF1_SHA1: Final = f"{_XENC11}mgf1sha1"
_OAEP_SHA1: Final = f"{_XENC_URI}rsa-oaep-mgf1p"
_OAEP: Final = f"{_XENC11}rsa-oaep"
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    _SHA1: hashes.SHA1,
    f"{_XENC_URI}sha256": hashes.SHA256,
    "http://www.w3.org/2001/04/xmldsig-more#sha384": hashes.SHA384,
    f"{_XENC_URI}sha512": hashes.SHA512,
}
_MASKS: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    _MGF1_SHA1: hashes.SHA1,
    f"{_XENC11}mgf1sha256": hashes.SHA256,
    f"{_XENC11}mgf1sha384": hashes.SHA384,
    f"{_XENC11}mgf1sha512": hashes.SHA512,
}
_ELEMENT: Final = f"{_XENC_URI}Element"


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """An encrypted assertion.

    Attributes:
        wrapped: the content key, encrypted by RSA-OAEP with the hash functions `digest` and `mask` (URIs).
        content: the assertion, encrypted by `algorithm` (URI).
    """

    wrapped: bytes
    digest: str
    mask: str
    content: bytes
    algorithm: str


class Undecryptable(Exception):
    """No key of ours opens it, or its content is broken. The error does not say which."""


def load_key(pem: bytes) -> rsa.RSAPrivateKey:
    """A private key as it was uploaded. Raises ValueError unless it is RSA of a safe size, without a password.

    Its numbers were checked at upload. That check takes up to a quarter of a second, and any sender can cause a load.
    """
    try:
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise ValueError("the key is protected by a password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the key is not an RSA key")  # noqa: TRY004  # the file is wrong, not the program
    if refusal := refusal_of_rsa(key.key_size, key.public_key().public_numbers().e):
        raise ValueError(f"the key is an RSA key {refusal}")
    return key


def check_encrypted(element: etree._Element, *, covered: bool) -> None:
    """Refuses an EncryptedAssertion of any other form or algorithm than those taken here. Raises BadXml.

    `covered`: a signature of the response covers the ciphertext.
    """
    data = only(element, f"{XENC}EncryptedData")
    if data.get("Type", _ELEMENT) != _ELEMENT:
        raise BadXml("its EncryptedData is not an element")
    content = _algorithm(data)
    if content in _CBC and not covered:
        raise BadXml(
            "its assertion is encrypted with AES-CBC, which is taken only within a signed response; use AES-GCM"
        )
    if content not in _GCM and content not in _CBC:
        raise BadXml("its assertion is not encrypted with AES-GCM")
    _oaep(_encrypted_key(element, data))


def read_encrypted(element: etree._Element) -> Ciphertext:
    """The content of an EncryptedAssertion that has been checked. Raises BadXml."""
    data = only(element, f"{XENC}EncryptedData")
    transport = _encrypted_key(element, data)
    return Ciphertext(_cipher_value(transport), *_oaep(transport), _cipher_value(data), _algorithm(data))


def decrypt(ciphertext: Ciphertext, keys: Sequence[rsa.RSAPrivateKey]) -> bytes:
    """The bytes of the assertion. Raises Undecryptable."""
    algorithm, content = ciphertext.algorithm, ciphertext.content
    size = {**_GCM, **_CBC}[algorithm]
    padding = OAEP(MGF1(_MASKS[ciphertext.mask]()), _HASHES[ciphertext.digest](), None)
    for key in keys:
        try:
            secret = key.decrypt(ciphertext.wrapped, padding)
            if len(secret) == size:
                return _open_gcm(secret, content) if algorithm in _GCM else _open_cbc(secret, content)
        except (ValueError, InvalidTag):
            continue
    raise Undecryptable


def _open_gcm(secret: bytes, content: bytes) -> bytes:
    """A nonce of 96 bits, then ciphertext and tag (xmlenc-core1, section 5.2.4)."""
    return AESGCM(secret).decrypt(content[:12], content[12:], None)


def _open_cbc(secret: bytes, content: bytes) -> bytes:
    """An initialisation vector, then blocks; the last byte counts the padding, whatever that is (section 5.2.1)."""
    opener = Cipher(AES(secret), CBC(content[:16])).decryptor()
    plain = opener.update(content[16:]) + opener.finalize()
    count = plain[-1] if plain else 0
    if not 1 <= count <= AES.block_size // 8:
        raise ValueError("the padding is broken")
    return plain[:-count]


def _encrypted_key(element: etree._Element, data: etree._Element) -> etree._Element:
    """The one EncryptedKey: within the data's KeyInfo, or beside the data."""
    encrypted_keys = [*data.findall(f"{DS}KeyInfo/{XENC}EncryptedKey"), *element.findall(f"{XENC}EncryptedKey")]
    if len(encrypted_keys) != 1:
        raise BadXml("its encrypted assertion must have exactly one EncryptedKey")
    return encrypted_keys[0]


def _algorithm(element: etree._Element) -> str:
    return str(only(element, f"{XENC}EncryptionMethod").get("Algorithm", ""))


def _oaep(transport: etree._Element) -> tuple[str, str]:
    """The URIs of digest and mask generation of RSA-OAEP. Raises BadXml."""
    method = only(transport, f"{XENC}EncryptionMethod")
    digest, mask = method.find(f"{DS}DigestMethod"), method.find(f"{{{_XENC11}}}MGF")
    algorithm = method.get("Algorithm", "")
    if algorithm not in (_OAEP, _OAEP_SHA1) or (algorithm == _OAEP_SHA1 and mask is not None):
        raise BadXml("the key of its encrypted assertion is not in RSA-OAEP")
    digest_uri = _SHA1 if digest is None else digest.get("Algorithm", "")
    mask_uri = _MGF1_SHA1 if mask is None else mask.get("Algorithm", "")
    if digest_uri not in _HASHES or mask_uri not in _MASKS or method.find(f"{XENC}OAEPparams") is not None:
        raise BadXml("the parameters of RSA-OAEP in it are not known")
    return digest_uri, mask_uri


def _cipher_value(element: etree._Element) -> bytes:
    value = only(only(element, f"{XENC}CipherData"), f"{XENC}CipherValue")
    try:
        return base64.b64decode("".join(text_of(value).split()), validate=True)
    except ValueError:
        raise BadXml("a CipherValue in it is not base64") from None


# --- The certificate that carries our key ----------------------------------------------------------------------------


def certificate_of(key: rsa.RSAPrivateKey, provider: SamlProvider, added_at: int) -> bytes:
    """A certificate (DER) that carries the public key in our metadata. The same key makes the same bytes each time."""
    public = key.public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Daypass {provider.id}")])
    begins = datetime.fromtimestamp(added_at // 1000, UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=public,
        serial_number=int.from_bytes(hashlib.sha256(spki).digest()[:16], "big") | 1,
        not_valid_before=begins,
        not_valid_after=begins + timedelta(days=36_500),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
