"""Which authenticators may be registered, from the settings."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from daypass.config.identity import SignInSettings
from daypass.ports import PasskeyPolicy


def passkey_policy(settings: SignInSettings) -> PasskeyPolicy:
    """Raises ValueError or OSError for a file without certificates, and for models without roots: a model that no
    attestation proves can be claimed by any program.
    """
    if settings.passkey_roots is None:
        if settings.passkey_models:
            raise ValueError("sign_in.passkey_models takes sign_in.passkey_roots")
        return PasskeyPolicy()
    roots = x509.load_pem_x509_certificates(settings.passkey_roots.read_bytes())
    return PasskeyPolicy(tuple(root.public_bytes(Encoding.DER) for root in roots), frozenset(settings.passkey_models))
