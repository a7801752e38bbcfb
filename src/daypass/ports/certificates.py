"""X.509: paths, CRLs, and uses of certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from daypass.domain.certificate import Certificate
from daypass.domain.source import Source


class CertificateVerifier(Protocol):
    """X.509. Refusals are `domain.certificate.CertificateRefused`, whose message is only for the record."""

    async def check_signature(
        self, source: Source, unverified_der: bytes, serial: int, algorithm: str, signature: bytes, message: bytes
    ) -> None:
        """Returns normally if the certificate has this serial number and its key signed `message`.

        `algorithm`: "RSA" (PKCS #1 1.5) or "ECDSA", with SHA-256; the key must be of that kind. Sources take turns.
        """
        ...

    async def verify(
        self,
        source: Source,
        anchors: str,
        crls: Sequence[bytes],
        unverified_der: bytes,
        unverified_chain: Sequence[bytes],
        now: int,
    ) -> Certificate:
        """The certificate, if a valid path leads from it to one of `anchors` (PEM) at `now` (ms) and no CRL forbids
        it. Sources take turns.

        `crls` (PEM): each covers the certificates of its issuer in the path, and one that has expired leaves them
        unproven.
        """
        ...

    def check_anchors(self, unverified_pem: str) -> None:
        """Returns normally if these certificates (PEM) may be a trust anchor."""
        ...

    def check_crl(self, unverified_pem: bytes, anchors: str) -> None:
        """Returns normally if one of `anchors` issued this CRL and it can be enforced."""
        ...


@dataclass(frozen=True, slots=True)
class CertificateUse:
    """A certificate that asked for a session: what the record of its subject keeps of it. `failed`: it got none."""

    account: str
    region: str
    subject_id: str
    certificate: Certificate
    at: int  # ms
    failed: bool = False
    properties: tuple[tuple[str, str], ...] = ()


class CertificateUses(Protocol):
    """Records certificate uses off the request's path. It holds a limited number; those beyond it are lost."""

    def note(self, use: CertificateUse) -> None: ...
