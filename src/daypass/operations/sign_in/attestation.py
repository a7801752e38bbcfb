"""The attestation of a new passkey: its certificates must lead to one of the configured roots.

It must never accept a certificate that is not valid now, nor one that was not issued by a CA.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any


def attestation_verifier(roots: Sequence[bytes], now: int) -> Any:
    """Accepts an attestation whose chain ends in one of the configured roots (DER).

    The library compares the signatures of the chain, and nothing else: a genuine attestation certificate would vouch for others.
    """
    from cryptography import x509  # noqa: PLC0415  # slow to import
    from fido2.attestation.base import AttestationResult, AttestationVerifier  # noqa: PLC0415
    from fido2.webauthn import AuthenticatorData  # noqa: PLC0415

    class Verifier(AttestationVerifier):
        def ca_lookup(self, attestation_result: AttestationResult, auth_data: AuthenticatorData) -> bytes | None:
            del auth_data
            path = [x509.load_der_x509_certificate(each) for each in attestation_result.trust_path]
            if not path:
                return None
            _check_path(path, now)
            return next((root for root in roots if _issued_by(path[-1], x509.load_der_x509_certificate(root))), None)

    return Verifier()


def _check_path(path: Sequence[Any], now: int) -> None:
    """Raises ValueError unless every certificate is valid at `now` (ms), and each after the first is a CA that issued the
    one before (RFC 5280, 6.1). The first one's requirements depend on the format; the library checks them.
    """
    from cryptography.x509 import BasicConstraints  # noqa: PLC0415  # slow to import

    at = datetime.fromtimestamp(now / 1000, UTC)
    for each in path:
        if not each.not_valid_before_utc <= at <= each.not_valid_after_utc:
            raise ValueError("a certificate of the attestation is not valid now")
    for below, (child, issuer) in enumerate(pairwise(path)):
        limits = issuer.extensions.get_extension_for_class(BasicConstraints).value
        if not limits.ca or (limits.path_length is not None and limits.path_length < below):
            raise ValueError("a certificate of the attestation was not issued by a CA")
        child.verify_directly_issued_by(issuer)


def _issued_by(child: Any, issuer: Any) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # slow to import

    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True
