"""Verifies access tokens of a Daypass installation in another service, and refuses revoked ones within a second.

    from daypass.client.verifier import VerifierSettings, Verifier

    verifier = Verifier(VerifierSettings("https://daypass.example.com", "https://api.example.com", profile))
    verified = verifier.verify(token)

Standard library only, except for signatures: with the extra `verifier` they are verified here, otherwise
each new token is introspected once.
"""

from __future__ import annotations

from daypass.client.verifier.holder import Sent
from daypass.client.verifier.settings import VerifierSettings, WhenBehind
from daypass.client.verifier.verify import InvalidToken, NotCurrent, Verified, Verifier

__all__ = ["InvalidToken", "NotCurrent", "Sent", "Verified", "Verifier", "VerifierSettings", "WhenBehind"]
