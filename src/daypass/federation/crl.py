"""Parses certificate revocation lists once into the form that checks need.

A list with any content that is not understood here is refused, because a partial list would admit revoked certificates.
Source: RFC 5280, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from daypass.domain.certificate import CertificateRefused

MAX_BYTES: Final = 300_000  # Roles Anywhere API, ImportCrl
_UNDERSTOOD: Final = (x509.AuthorityKeyIdentifier, x509.CRLNumber, x509.FreshestCRL, x509.IssuingDistributionPoint)
_ENTRY_EXTENSIONS: Final = (x509.CRLReason, x509.InvalidityDate)
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True, slots=True, eq=False)
class Crl:
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
def _signed(crl: Crl, certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    return crl.parsed.is_signature_valid(key)


def read_crl(unverified_pem: bytes) -> Crl:
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
    return Crl(
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
