"""DPoP (RFC 9449): proofs that the sender of a request has the key to which its tokens are bound.

A proof is good for one request: its method, its address, its token, and once. Nonces are sealed times: every process of
the installation accepts those of the others, and nothing is stored.
"""

from __future__ import annotations

import hashlib
from typing import Final

from msgspec import Struct

from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError, base64url, text_digest
from daypass.domain.oauth.binding import JKT, Binding
from daypass.operations.assume.request import DPOP
from daypass.ports import Env

NONCE_SECONDS: Final = 300
"""How long a nonce is accepted."""

_AGE: Final = 60  # seconds of iat, in both directions
_NONCE: Final = b"dpop-nonce "
_INVALID: Final = "The DPoP proof is not valid."


class DpopProof(Struct, frozen=True):
    """A verified proof: the key, and its one use, which the request must consume."""

    algorithm: str
    binding: Binding
    replay: ReplayEntry


async def check_dpop(
    env: Env, unverified_proof: str, method: str, path: str, access_token: str = "", origin: str = ""
) -> DpopProof:
    """The proof of a request with `method` for `path` of the issuer, or of `origin`, and with `access_token` ("" at the token
    endpoint).

    Raises DaypassError: INVALID_DPOP_PROOF, USE_DPOP_NONCE, UNAVAILABLE.
    """
    try:
        claims = env.oauth.proofs.dpop(unverified_proof)
    except JoseError as error:
        raise invalid_proof(str(error)) from None
    if claims.method != method:
        raise invalid_proof("its htm is not the method of the request")
    if claims.uri != (origin or env.oauth.issuer) + path:
        raise invalid_proof("its htu is not the address of the request, without query and fragment")
    now = env.clock.wall()
    seconds = now // 1000
    if not -_AGE <= seconds - claims.issued_at <= _AGE:
        raise invalid_proof(f"its iat differs from the server's time by more than {_AGE} seconds")
    ended = claims.expires_at is not None and claims.expires_at <= seconds
    if ended or (claims.not_before or 0) > seconds + _AGE:
        raise invalid_proof("its exp or nbf is not of the server's time")
    if claims.token_hash != (token_hash(access_token) if access_token else ""):
        raise invalid_proof("its ath is not that of the access token")
    await _check_nonce(env, claims.nonce, now)
    used = text_digest(f"{claims.thumbprint}\0{claims.id}")
    entry = ReplayEntry(DPOP, used, "", now, (claims.issued_at + 2 * _AGE) * 1000)
    return DpopProof(claims.algorithm, Binding(JKT, claims.thumbprint), entry)


def token_hash(access_token: str) -> str:
    """`ath` of an access token (RFC 9449, 4.2)."""
    return base64url(hashlib.sha256(access_token.encode("ascii", "replace")).digest())


def new_nonce(env: Env) -> str:
    """A nonce of now. Raises DaypassError(UNAVAILABLE) when no key may seal now."""
    return env.sealer.seal_message("", _NONCE + str(env.clock.wall()).encode("ascii"))


async def _check_nonce(env: Env, nonce: str, now: int) -> None:
    """Every proof needs a nonce of this server: a proof cannot be made in advance."""
    if not nonce:
        raise _use_nonce("it has no nonce")
    try:
        account, content = await env.sealer.open_message(nonce)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        raise _use_nonce("its nonce is not of this server") from None
    made = content.removeprefix(_NONCE)
    if account or made == content or not 0 <= now - int(made) + 1000 * _AGE <= 1000 * (NONCE_SECONDS + _AGE):
        raise _use_nonce("its nonce is too old")


def _use_nonce(reason: str) -> DaypassError:
    message = "The DPoP proof needs the nonce of the header DPoP-Nonce."
    return DaypassError(ErrorKind.USE_DPOP_NONCE, message, private={"reason": reason})


def invalid_proof(reason: str, public: str = _INVALID) -> DaypassError:
    """The refusal of a proof. The sender made it, so the message says what is wrong with it."""
    text = f"{public} In detail: {reason}." if public is _INVALID else public
    return DaypassError(ErrorKind.INVALID_DPOP_PROOF, text, private={"reason": reason})
