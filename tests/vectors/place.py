"""Where fetched vectors are."""

from __future__ import annotations

import os
from pathlib import Path


def target() -> Path:
    """$DAYPASS_VECTORS, else .cache/sigv4-vectors in the checkout."""
    given = os.environ.get("DAYPASS_VECTORS")
    return Path(given) if given else Path(__file__).resolve().parents[2] / ".cache" / "sigv4-vectors"


def jws_file() -> Path:
    """$DAYPASS_JWS_VECTORS, else .cache/json_web_signature_test.json in the checkout: Project Wycheproof's, if you have it."""
    given = os.environ.get("DAYPASS_JWS_VECTORS")
    return Path(given) if given else Path(__file__).resolve().parents[2] / ".cache" / "json_web_signature_test.json"
