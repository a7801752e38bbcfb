"""Where the fetched SigV4 vectors are."""

from __future__ import annotations

import os
from pathlib import Path


def target() -> Path:
    """$DAYPASS_VECTORS, else .cache/sigv4-vectors in the checkout."""
    given = os.environ.get("DAYPASS_VECTORS")
    return Path(given) if given else Path(__file__).resolve().parents[2] / ".cache" / "sigv4-vectors"
