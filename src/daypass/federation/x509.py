"""X.509 verification: paths to a trust anchor, revocation lists, and signatures by a certificate's key.

It is based on `cryptography`'s path verifier. Cases that the verifier leaves open are decided here, and anything that
cannot be established is refused. It must never use the content of a certificate before the path to the anchor has been
verified.

Signatures and paths are verified on one thread, in turns by source: with large keys a path takes up to 30 ms, in which
`cryptography` does not hold the interpreter lock.
Source: RFC 5280; IAM Roles Anywhere User Guide, "The IAM Roles Anywhere trust model".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from daypass.domain.arn import Source
from daypass.domain.jws import ATTRIBUTES, CertificateRefused, Fields, VerifiedCertificate, refusal_of_rsa
from daypass.scheduling.threads import FairThreads, Job

MAX_CHAIN: Final = 5
"""Certificates that may come with the end-entity certificate, and intermediates that a path may have."""
MAX_ANCHORS: Final = 20  # certificates of one trust anchor
_MAX_CRLS: Final = 256  # kept, each at most 300 KB
_MAX_DER: Final = 16_384  # bytes of one certificate
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_KNOWN_CONSTRAINTS: Final = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
_NAMES_IN_SUBJECT: Final = ((x509.DNSName, NameOID.COMMON_NAME, "."), (x509.RFC822Name, NameOID.EMAIL_ADDRESS, "@"))
_LIKE_A_SUBJECT: Final = re.compile(r"[A-Za-z0-9.]+=").match
_THREAD: Final = FairThreads(1, "daypass-x509")
_EC_SIGNATURE, _RSA_SIGNATURE = ec.ECDSA(SHA256()), padding.PKCS1v15()


@dataclass(frozen=True, slots=True)
class _Presented:
    """The presented certificates: parsed, not trusted."""

    leaf: x509.Certificate
    others: tuple[x509.Certificate, ...]


class X509Verifier:
    """Verifies certificates. Refusals are `CertificateRefused`, whose message is only for the record. It stores only parsed certificates and lists."""

    def __init__(self) -> None:
        self._crls: dict[bytes, RevocationList] = {}
        self._lock = threading.Lock()

    def _read(self, crl: bytes) -> RevocationList:
        parsed = self._crls.get(crl)
        if parsed is None:
            parsed = read_crl(crl)
            with self._lock:
                if len(self._crls) >= _MAX_CRLS:
                    self._crls.pop(next(iter(self._crls)))
                self._crls[crl] = parsed
        return parsed

    async def check_signature(
        self, source: Source, unverified_der: bytes, serial: int, algorithm: str, signature: bytes, message: bytes
    ) -> None:
        """Returns normally if the certificate has this serial number and its key signed `message`.

        `algorithm`: "RSA" (PKCS #1 1.5) or "ECDSA", with SHA-256; the key must be of that kind. Sources take turns.
        """

        def check(_: Job) -> None:
            certificate = _parse(unverified_der)
            if certificate.serial_number != serial:
                raise CertificateRefused("the credential scope names another serial number")
            _check_signature(_usable_key(certificate), algorithm, signature, message)

        await _THREAD.run(source.lane, check)

    async def verify(
        self,
        source: Source,
        anchors: str,
        crls: Sequence[bytes],
        unverified_der: bytes,
        unverified_chain: Sequence[bytes],
        now: int,
    ) -> VerifiedCertificate:
        """The certificate, if a valid path leads from it to one of `anchors` (PEM) at `now` (ms) and no CRL forbids
        it. Sources take turns.

        `crls` (PEM): each covers the certificates of its issuer in the path, and one that has expired leaves them
        unproven.
        """
        if len(unverified_chain) > MAX_CHAIN:
            raise CertificateRefused(f"more than {MAX_CHAIN} certificates in the chain")

        def verify(_: Job) -> VerifiedCertificate:
            presented = _Presented(_parse(unverified_der), _chain(unverified_chain))
            moment = datetime.fromtimestamp(now / 1000, UTC).replace(tzinfo=None)
            path = _path(_bundle(anchors), presented, moment)
            _check_revocation(path, anchors, [self._read(crl) for crl in crls], now)
            return _facts(tuple(path))

        return await _THREAD.run(source.lane, verify)

    def check_anchors(self, unverified_pem: str) -> None:
        """Returns normally if these certificates (PEM) may be a trust anchor."""
        if "PRIVATE KEY" in unverified_pem:  # it would be stored and shown
            raise CertificateRefused("a private key among the certificates")
        for certificate in _bundle(unverified_pem):
            _check_anchor(certificate)

    def check_crl(self, unverified_pem: bytes, anchors: str) -> None:
        """Returns normally if one of `anchors` issued this CRL and it can be enforced."""
        if b"PRIVATE KEY" in unverified_pem:
            raise CertificateRefused("a private key beside the CRL")
        crl = self._read(unverified_pem)
        if not any(crl.signed_by(anchor) for anchor in _bundle(anchors)):
            raise CertificateRefused("the CRL is not signed by a certificate of the trust anchor")


# --- Signatures ------------------------------------------------------------------------------------------------------


def _check_signature(key: Any, algorithm: str, signature: bytes, message: bytes) -> None:
    try:
        if algorithm == "RSA" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, _RSA_SIGNATURE, SHA256())
        elif algorithm == "ECDSA" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, _EC_SIGNATURE)
        else:
            raise CertificateRefused("the signature's algorithm is not that of the certificate's key")
    except InvalidSignature:
        raise CertificateRefused("the signature was not made with the certificate's key") from None


# --- Reading ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _parse(der: bytes) -> x509.Certificate:
    """One certificate from exactly these bytes. Extensions are read here, so that a malformed one shows at once.

    Its key is checked before it verifies anything: building a path already tries keys that nobody vouches for.
    """
    if len(der) > _MAX_DER:
        raise CertificateRefused("the certificate is too large")
    try:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.version is not x509.Version.v3:
            raise CertificateRefused("not an X.509 v3 certificate")
        _ = certificate.extensions, certificate.subject, certificate.issuer
        _usable_key(certificate)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise CertificateRefused(f"not a readable certificate: {_brief(error)}") from None
    return certificate


def _chain(unverified: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates beside the end-entity one, each subject once: namesakes make paths multiply, and each step
    costs.
    """
    certificates = tuple(_parse(der) for der in dict.fromkeys(unverified))
    if len({certificate.subject.public_bytes() for certificate in certificates}) < len(certificates):
        raise CertificateRefused("two certificates of the chain have the same subject")
    return certificates


@lru_cache(maxsize=256)
def _bundle(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a trust anchor."""
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode("ascii"))
    except ValueError as error:
        raise CertificateRefused(f"not PEM certificates: {_brief(error)}") from None
    if len(certificates) > MAX_ANCHORS:
        raise CertificateRefused(f"more than {MAX_ANCHORS} certificates in the trust anchor")
    return tuple(_parse(certificate.public_bytes(Encoding.DER)) for certificate in certificates)


def _usable_key(certificate: x509.Certificate) -> Any:
    """The public key of a certificate, if it is strong enough."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if refusal := refusal_of_rsa(key.key_size, key.public_numbers().e):
            raise CertificateRefused(f"an RSA key {refusal}")
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise CertificateRefused("neither an RSA key nor one on P-256, P-384 or P-521")
    return key


# --- The path --------------------------------------------------------------------------------------------------------


def _path(anchors: Iterable[x509.Certificate], brought: _Presented, moment: datetime) -> list[x509.Certificate]:
    """The path from the end-entity certificate to an anchor, both included."""
    verifier = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(moment)
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(ca_policy=_CA, ee_policy=_END_ENTITY)
        .build_client_verifier()
    )
    try:
        path: list[x509.Certificate] = verifier.verify(brought.leaf, list(brought.others)).chain
    except VerificationError as error:
        raise CertificateRefused(f"no valid path to the trust anchor: {_brief(error)}") from None
    if len(path) < 2:  # an anchor issues certificates and is never an end-entity certificate
        raise CertificateRefused("the certificate is the trust anchor itself")
    _check_subject_names(path)
    return path


def _check_subject_names(path: Sequence[x509.Certificate]) -> None:
    """Under a constraint on names, those in the subject and in directory names must be alternative names too: the
    verifier looks at no others.

    RFC 5280, 4.2.1.10, demands it of mail addresses; common names are what most policies look at.
    """
    leaf = path[0]
    directory: list[x509.Name] = [leaf.subject, *_alternatives(leaf, x509.DirectoryName)]
    kinds = {type(name) for authority in path[1:] for name in _constraints(authority)}
    for kind, attribute, mark in _NAMES_IN_SUBJECT:
        known = {text.lower() for text in _alternatives(leaf, kind)}
        values = [str(found.value) for name in directory for found in name.get_attributes_for_oid(attribute)]
        if kind in kinds and any(mark in text and text.lower() not in known for text in values):
            raise CertificateRefused("a name in the subject that a name constraint may be about, and does not reach")


def _constraints(authority: x509.Certificate) -> Iterable[x509.GeneralName]:
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    return (*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ()))


def _alternatives(leaf: x509.Certificate, kind: type[Any]) -> list[Any]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(kind))


def _must(hold: Callable[[Any], bool], why: str) -> Callable[[Policy, x509.Certificate, Any], None]:
    """A check of an extension, if the certificate has it."""

    def check(_: Policy, __: x509.Certificate, found: Any) -> None:
        if found is not None and not hold(found):
            raise ValueError(why)

    return check


def _for_clients(found: x509.ExtendedKeyUsage) -> bool:
    return _CLIENT_AUTH in found or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found


def _known_names(found: x509.NameConstraints) -> bool:
    """A constraint that the verifier would ignore (such as one on directory names) is refused."""
    names = (*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ()))
    return all(isinstance(name, _KNOWN_CONSTRAINTS) for name in names)


_CA_BASIC = _must(lambda found: found.ca, "an issuer in the path is not a CA")
_CA_USAGE = _must(lambda found: found.key_cert_sign, "an issuer in the path may not sign certificates")
_CA_EXTENDED = _must(_for_clients, "an issuer in the path may not issue for client authentication")
_CA_NAMES = _must(_known_names, "a name constraint of an unsupported kind")
_LEAF_BASIC = _must(lambda found: not found.ca, "a CA certificate is not an end-entity certificate")
_LEAF_USAGE = _must(
    lambda found: found.digital_signature and not found.key_cert_sign,
    "its key may not make signatures, or may sign certificates",
)
_LEAF_EXTENDED = _must(_for_clients, "its extended key usage is not client authentication")
_CA: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _CA_BASIC)
    .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _CA_USAGE)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _CA_EXTENDED)
    .may_be_present(x509.NameConstraints, Criticality.AGNOSTIC, _CA_NAMES)
)
_END_ENTITY: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _LEAF_USAGE)
    .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _LEAF_BASIC)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _LEAF_EXTENDED)
)


def _check_anchor(certificate: x509.Certificate) -> None:
    """AWS's requirements for a trust anchor's certificates."""
    _usable_key(certificate)
    extensions = certificate.extensions
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateRefused("a certificate without basic constraints or key usage") from None
    if not basic.ca or not usage.key_cert_sign:
        raise CertificateRefused("a certificate that may not sign certificates")


# --- Revocation ------------------------------------------------------------------------------------------------------


def _check_revocation(path: Sequence[x509.Certificate], anchors: str, crls: Sequence[RevocationList], now: int) -> None:
    """No certificate of the path is on a CRL of its issuer, and of each kind of these CRLs one is in force."""
    if not crls:
        return
    for certificate, issuer in pairwise(path):
        covering = [crl for crl in crls if crl.covers(certificate, (issuer, *_bundle(anchors)))]
        if any(certificate.serial_number in crl.serials for crl in covering):
            raise CertificateRefused(f"certificate {certificate.serial_number:x} is revoked")
        current = {crl.scope for crl in covering if crl.this_update <= now < crl.next_update}
        if not all(crl.scope in current for crl in covering):
            raise CertificateRefused("the CRL of the issuer is not in force: it has expired, or is of the future")


# --- What it says ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _facts(path: tuple[x509.Certificate, ...]) -> VerifiedCertificate:
    """Cached facts about certificates: a host sends the same ones again and again."""
    leaf = path[0]
    ends = min(certificate.not_valid_after_utc for certificate in path)
    return VerifiedCertificate(
        serial=leaf.serial_number,
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        not_after=int(ends.timestamp() * 1000),
        fingerprint=leaf.fingerprint(SHA256()).hex(),
        subject_fields=_fields(leaf.subject),
        issuer_fields=_fields(leaf.issuer),
        sans=_sans(leaf),
        pem=leaf.public_bytes(Encoding.PEM).decode("ascii"),
    )


def _fields(name: x509.Name) -> Fields:
    """The attributes that have a name, in the certificate's order. Values that are not text are left out."""
    return tuple(
        (ATTRIBUTES[attribute.oid.dotted_string], attribute.value)
        for attribute in name
        if attribute.oid.dotted_string in ATTRIBUTES and isinstance(attribute.value, str)
    )


def _sans(leaf: x509.Certificate) -> Fields:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) > 1 and any(uri.lower().startswith("spiffe:") for uri in uris):
        raise CertificateRefused("a SPIFFE X.509-SVID with several URIs")  # SPIFFE X509-SVID, section 2
    hosts = names.get_values_for_type(x509.DNSName)
    if not all(text.isascii() and text.isprintable() for text in (*hosts, *uris)):  # "host.example\0.attacker.net"
        raise CertificateRefused("an alternative name that is not plain text")
    if any(map(_LIKE_A_SUBJECT, (*hosts, *uris))):  # a certificate without a subject is named by it (attack A440)
        raise CertificateRefused("an alternative name that reads like a subject")
    fields: list[tuple[str, str]] = []
    fields += [("DNS", value) for value in hosts]
    fields += [("URI", value) for value in uris]
    for name in names.get_values_for_type(x509.DirectoryName)[:1]:
        fields += [(f"Name/{attribute}", value) for attribute, value in _fields(name)]
    return tuple(fields)


def _brief(error: Exception) -> str:
    return str(error)[:200]


# --- Parses certificate revocation lists once into the form that checks need


MAX_BYTES: Final = 300_000  # Roles Anywhere API, ImportCrl
_UNDERSTOOD: Final = (x509.AuthorityKeyIdentifier, x509.CRLNumber, x509.FreshestCRL, x509.IssuingDistributionPoint)
_ENTRY_EXTENSIONS: Final = (x509.CRLReason, x509.InvalidityDate)
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """One list: its issuer, the revoked certificates, and its validity period (ms)."""

    parsed: x509.CertificateRevocationList
    issuer: x509.Name
    serials: frozenset[int]
    scope: bytes  # its issuing distribution point: a partitioned list is complete only if each part is in force
    this_update: int
    next_update: int

    def signed_by(self, certificate: x509.Certificate) -> bool:
        """Whether the key of this certificate, which has the list's issuer as its subject, made the list."""
        return certificate.subject == self.issuer and _signed(self, certificate)

    def covers(self, certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> bool:
        """Whether the list covers this certificate: it has the same issuer, which one of `issuers` proves."""
        return certificate.issuer == self.issuer and any(map(self.signed_by, issuers))


@lru_cache(maxsize=1024)
def _signed(crl: RevocationList, certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    return crl.parsed.is_signature_valid(key)


def read_crl(unverified_pem: bytes) -> RevocationList:
    """The list in this PEM text. Raises CertificateRefused when it is malformed or cannot be enforced."""
    if len(unverified_pem) > MAX_BYTES:
        raise CertificateRefused("the CRL is too large")
    try:
        parsed = x509.load_pem_x509_crl(unverified_pem)
        _check(parsed)
        serials = frozenset(_serials(parsed))
        until = parsed.next_update_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificateRefused(f"not a readable CRL: {str(error)[:200]}") from None
    if until is None:
        raise CertificateRefused("a CRL without a next update")
    return RevocationList(
        parsed=parsed,
        issuer=parsed.issuer,
        serials=serials,
        scope=_scope(parsed),
        this_update=int(parsed.last_update_utc.timestamp() * 1000),
        next_update=int(until.timestamp() * 1000),
    )


def _check(parsed: x509.CertificateRevocationList) -> None:
    """Refuses delta lists, indirect lists, lists only for some reasons or only for attribute certificates, and weak
    hashes.
    """
    algorithm = parsed.signature_hash_algorithm
    if algorithm is None or algorithm.name not in _HASHES:
        raise CertificateRefused("a CRL that is not signed with SHA-256 or stronger")
    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise CertificateRefused("a delta CRL")
        if isinstance(value, x509.IssuingDistributionPoint) and (
            value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs
        ):
            raise CertificateRefused("an indirect or partial CRL")
        if extension.critical and not isinstance(value, _UNDERSTOOD):
            raise CertificateRefused(f"a CRL with the unknown critical extension {extension.oid.dotted_string}")


def _scope(parsed: x509.CertificateRevocationList) -> bytes:
    try:
        point = parsed.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return b""
    return point.public_bytes()


def _serials(parsed: x509.CertificateRevocationList) -> Iterable[int]:
    for entry in parsed:
        for extension in entry.extensions:
            if extension.critical and not isinstance(extension.value, _ENTRY_EXTENSIONS):
                raise CertificateRefused("a CRL entry with an unknown critical extension")
        yield entry.serial_number
