"""X.509: paths, CRLs, and what is seen of certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from daypass.domain.certificate import Certificate


class CertificateVerifier(Protocol):
    """X.509. Refusals are `domain.certificate.CertificateRefused`, whose message is for the record alone."""

    async def prepare(self, crls: Sequence[bytes]) -> None:
        """Reads CRLs that are new without holding up the event loop. It refuses nothing."""
        ...

    def serial(self, unverified_der: bytes) -> int:
        """The serial number of a certificate."""
        ...

    def check_signature(self, unverified_der: bytes, algorithm: str, signature: bytes, message: bytes) -> None:
        """Returns if the certificate's key signed `message`: "RSA" (PKCS #1 1.5) or "ECDSA", with SHA-256."""
        ...

    def verify(
        self, anchors: str, crls: Sequence[bytes], unverified_der: bytes, unverified_chain: Sequence[bytes], now: int
    ) -> Certificate:
        """The certificate, if a valid path leads from it to one of `anchors` (PEM) at `now` (ms) and no CRL forbids it."""
        ...

    def check_anchors(self, unverified_pem: str) -> None:
        """Returns if these certificates (PEM) may be a trust anchor."""
        ...

    def check_crl(self, unverified_pem: bytes, anchors: str) -> None:
        """Returns if this CRL is by one of `anchors` and can be obeyed."""
        ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """A certificate that asked for a session: what the record of its subject keeps of it. `failed`: it got none."""

    account: str
    region: str
    subject_id: str
    certificate: Certificate
    at: int  # ms
    failed: bool = False
    properties: tuple[tuple[str, str], ...] = ()


class Sightings(Protocol):
    """Takes sightings down off the request's path, as many as it can hold; what is over that is lost, and no more."""

    def note(self, sighting: Sighting) -> None: ...
