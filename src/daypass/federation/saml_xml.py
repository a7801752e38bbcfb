"""The subset of XML that SAML needs: small, shallow, UTF-8, without document types, entities or processing
instructions.

A streaming parser checks the limits before a tree is built (attack A30). Two parsers must agree that a document is
well-formed; if either refuses it, it is refused. It must never fetch anything or accept an id twice.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.parsers import expat

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

MAX_BYTES: Final = 131_072  # of one response; AWS takes 100,000 characters of base64
MAX_METADATA_BYTES: Final = 10_000_000  # characters of a metadata document (IAM model, SAMLMetadataDocumentType)
MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 4_000
MAX_ATTRIBUTES: Final = 32  # of one element
_MAX_METADATA_ELEMENTS: Final = 100_000

DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
SAML: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP: Final = "{urn:oasis:names:tc:SAML:2.0:protocol}"
MD: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
XENC: Final = "{http://www.w3.org/2001/04/xmlenc#}"

_ENCODING = re.compile(r"""<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")
_IDS: Final = ("ID", "Id", "id", "AssertionID", "{http://www.w3.org/XML/1998/namespace}id")


class BadXml(ValueError):
    """The document is not supported. The message gives the sender the reason."""


class _Limits:
    """Callbacks of the streaming parser: each raises as soon as a limit is passed."""

    def __init__(self, elements: int) -> None:
        self._left = elements
        self._depth = 0

    def start(self, _name: str, attributes: list[str]) -> None:
        self._depth += 1
        self._left -= 1
        if self._depth > MAX_DEPTH:
            raise BadXml(f"it is nested more than {MAX_DEPTH} levels deep")
        if self._left < 0:
            raise BadXml("it has too many elements")
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise BadXml(f"an element has more than {MAX_ATTRIBUTES} attributes")

    def end(self, _name: str) -> None:
        self._depth -= 1

    def doctype(self, *_: object) -> None:
        raise BadXml("it has a document type")

    def instruction(self, *_: object) -> None:
        raise BadXml("it has a processing instruction")


def parse(unverified: bytes, *, metadata: bool = False) -> etree._Element:
    """The root of a document within the limits. Raises BadXml."""
    limit = MAX_METADATA_BYTES if metadata else MAX_BYTES
    if len(unverified) > limit:
        raise BadXml(f"it is over {limit} bytes")
    _check_text(unverified)
    _check_limits(unverified, _MAX_METADATA_ELEMENTS if metadata else MAX_ELEMENTS)
    return _tree(unverified)


def _check_text(unverified: bytes) -> None:
    try:
        text = unverified.decode("utf-8")
    except UnicodeDecodeError:
        raise BadXml("it is not UTF-8") from None
    declared = _ENCODING.match(text)
    if declared and declared[1].lower() not in ("utf-8", "us-ascii", "ascii"):
        raise BadXml("it declares another encoding than UTF-8")


def _check_limits(unverified: bytes, elements: int) -> None:
    limits = _Limits(elements)
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.StartElementHandler = limits.start
    parser.EndElementHandler = limits.end
    parser.StartDoctypeDeclHandler = limits.doctype
    parser.EntityDeclHandler = limits.doctype
    parser.ProcessingInstructionHandler = limits.instruction
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(unverified, True)
    except expat.ExpatError as error:
        raise BadXml(f"it is not well-formed (line {error.lineno})") from None


def _tree(checked: bytes) -> etree._Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        dtd_validation=False,
        huge_tree=False,
        remove_pis=False,
    )
    try:
        root = etree.fromstring(checked, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise BadXml("it is not well-formed") from None
    if root.getroottree().docinfo.doctype or any(True for _ in root.iter(etree.Entity, etree.PI)):
        raise BadXml("it has a document type, an entity or a processing instruction")
    return root


def check_ids(root: etree._Element) -> None:
    """Refuses a document in which two elements have one id, under whatever name of an id attribute (attack A31)."""
    seen: set[str] = set()
    for element in root.iter(etree.Element):
        for name in _IDS:
            value = element.get(name)
            if value is None:
                continue
            if value in seen:
                raise BadXml("two of its elements have the same ID")
            seen.add(value)


def as_document(element: etree._Element) -> bytes:
    """The bytes of one element as a separate document, with the namespaces that are in scope there."""
    return bytes(etree.tostring(element, encoding="utf-8", with_tail=False))


def text_of(element: etree._Element) -> str:
    """The whole text of an element that may hold text only. Comments do not cut it short (attack A28). Raises
    BadXml.
    """
    parts = [element.text or ""]
    for child in element:
        if child.tag is not etree.Comment:
            raise BadXml(f"{etree.QName(element).localname} holds elements where text is expected")
        parts.append(child.tail or "")
    return "".join(parts)


def only(parent: etree._Element, tag: str) -> etree._Element:
    """The one child with this tag. Raises BadXml when there is none, or more than one."""
    children = parent.findall(tag)
    if len(children) != 1:
        name = tag.rpartition("}")[2]
        raise BadXml(f"it has {len(children)} {name} elements where there must be one")
    return children[0]


# --- Encrypted assertions: XML Encryption, as far as SAML needs it


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
    """An encrypted assertion."""

    wrapped: bytes  # the content key, encrypted by RSA-OAEP with the hash functions `digest` and `mask` (URIs)
    digest: str
    mask: str
    content: bytes  # the assertion, encrypted by `algorithm` (URI)
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
