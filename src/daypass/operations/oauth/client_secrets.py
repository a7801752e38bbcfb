"""Secrets of OAuth clients: how they are made, stored and verified.

A secret is `ID.SEED`: 320 random bits in base64url, behind the first eight hex digits of their SHA-256. Nobody finds such a
secret by hashing, so its hash is quick.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from daypass.domain.directory import OAuthClient
from daypass.domain.encoding import base64url
from daypass.domain.jws import JoseError
from daypass.operations.iam import login_profiles as passwords

_FORM: Final = re.compile(r"([0-9a-f]{8})\.([A-Za-z0-9_-]{54})")
_WRONG: Final = "the secret is not one of the client's"


def new_secret(seed: bytes) -> tuple[str, str]:
    """The id and the text of the secret of this seed of 40 random bytes."""
    secret_id, text = hashlib.sha256(seed).hexdigest()[:8], base64url(seed)
    return secret_id, f"{secret_id}.{text}"


def hash_of(secret: str, salt: str) -> str:
    """What is stored of a secret."""
    return passwords.hashed(secret, salt, passwords.RANDOM_COST)


def check_secret(client: OAuthClient, secret: str) -> None:
    """Raises JoseError unless it is one of the client's."""
    form = _FORM.fullmatch(secret)
    named = (
        [] if form is None else [hashed for known, _, hashed in client.secrets if hmac.compare_digest(known, form[1])]
    )
    if not named or not passwords.matches(secret, named[0]):
        raise JoseError(_WRONG)
