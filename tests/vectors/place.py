"""The folder of fetched vectors."""

from __future__ import annotations

import os
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[2] / ".cache"


def target() -> Path:
    """The SigV4 vectors of botocore: $DAYPASS_VECTORS, else .cache/sigv4-vectors in the checkout."""
    given = os.environ.get("DAYPASS_VECTORS")
    return Path(given) if given else _CACHE / "sigv4-vectors"


def c_auth_folder() -> Path:
    """The SigV4 vectors of aws-c-auth, one folder each."""
    return _CACHE / "aws-c-auth-vectors"


def jws_file() -> Path:
    """Project Wycheproof's vectors of signed tokens: $DAYPASS_JWS_VECTORS, else in .cache in the checkout."""
    given = os.environ.get("DAYPASS_JWS_VECTORS")
    return Path(given) if given else _CACHE / "json_web_signature_test.json"


def local_folder() -> Path | None:
    """$DAYPASS_VECTORS_DIR: a folder with the files of other hosts, where these cannot be reached."""
    given = os.environ.get("DAYPASS_VECTORS_DIR")
    return Path(given) if given else None
