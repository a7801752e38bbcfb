"""Secrets of OAuth clients: how they are made, stored and verified.

A secret is `ID.SEED`: 320 random bits in base64url, behind the first eight hex digits of their SHA-256. So a text that was
never a secret of this product is refused without a hash of its own, and nobody finds a secret by hashing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
from dataclasses import replace
from typing import Final

from daypass.domain.directory import OAuthClient
from daypass.domain.encoding import base64url, text_digest
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import JoseError
from daypass.operations import heavy
from daypass.operations.iam import login_profiles as passwords
from daypass.operations.sized_cache import SizedCache
from daypass.ports import Env, Tx

_FORM: Final = re.compile(r"([0-9a-f]{8})\.([A-Za-z0-9_-]{54})")
_WRONG: Final = "the secret is not one of the client's"
_CACHED: Final = 2_000_000  # characters of digests of secrets that were compared with their hashes


def new_secret(seed: bytes) -> tuple[str, str]:
    """The id and the text of the secret of this seed of 40 random bytes."""
    secret_id, text = hashlib.sha256(seed).hexdigest()[:8], base64url(seed)
    return secret_id, f"{secret_id}.{text}"


def hash_of(secret: str, salt: str) -> str:
    """What is stored of a secret."""
    return passwords.hashed(secret, salt, passwords.RANDOM_COST)


async def check_secret(env: Env, client: OAuthClient, secret: str, now: int) -> None:
    """Raises JoseError unless it is one of the client's, and DaypassError: THROTTLED, UNAVAILABLE.

    Only hashes that early versions stored are long work, of the client alone, and only for a text that has the id of its own
    seed: another one costs its sender 2**32 digests, and the server one hash (attack A232). The first use replaces them.
    """
    form = _FORM.fullmatch(secret)
    if form is None:
        raise JoseError(_WRONG)
    named = [hashed for known, _, hashed in client.secrets if hmac.compare_digest(known, form[1])]
    if not named:
        raise JoseError(_WRONG)
    stored = named[0]
    digest = text_digest(f"{client.id}\0{stored}\0{secret}")  # of 320 random bits, so the caches reveal no secret
    if digest not in _verified:
        if digest in _refused or new_secret(base64.urlsafe_b64decode(f"{form[2]}=="))[1] != secret:
            raise JoseError(_WRONG)
        if not await _matches(env, client, secret, stored):
            _refused.add(digest, True)
            raise JoseError(_WRONG)
        _verified.add(digest, True)
    if not passwords.is_quick(stored):
        await _replace_hash(env, client, secret, stored, now)


async def _matches(env: Env, client: OAuthClient, secret: str, stored: str) -> bool:
    if passwords.is_quick(stored):
        return passwords.matches(secret, stored)
    return await heavy.compute(env, f"client {client.id}", passwords.matches, secret, stored)


async def _replace_hash(env: Env, client: OAuthClient, secret: str, stored: str, now: int) -> None:
    """Stores the quick hash of the same secret in the place of a slow one. If that cannot be done now, the next use does it."""
    quick = hash_of(secret, passwords.salt_of(stored))
    secret_id = secret.partition(".")[0]
    detail = {"client": client.arn, "secret_hash_replaced": secret_id}
    event = Event(EventType.DIRECTORY_CHANGED, now, client.account, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        found = tx.get(OAuthClient, account=client.account, id=client.id)
        kept = tuple(
            (known, at, quick if hashed == stored else hashed) for known, at, hashed in (found.secrets if found else ())
        )
        if found is None or kept == found.secrets:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "Another process was first.")
        tx.replace(replace(found, secrets=kept))
        return None, event

    with contextlib.suppress(DaypassError):
        await env.journal.write(change, account=client.account)


_verified: SizedCache[bool] = SizedCache(bool, _CACHED)
_refused: SizedCache[bool] = SizedCache(bool, _CACHED)
