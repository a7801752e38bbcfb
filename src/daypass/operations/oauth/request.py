"""A request to the token endpoint, in typed form."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError, Party, base64url, text_digest
from daypass.domain.oauth.resource_server import JKT, Binding
from daypass.operations.assume.request import DPOP, SessionRequest
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.ports import Env


class TokenType(StrEnum):
    """The type of a security token (RFC 8693, 3). The last two are Daypass's own."""

    ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # a name
    JWT = "urn:ietf:params:oauth:token-type:jwt"
    ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # a name
    REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"  # a name
    ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
    SAML2 = "urn:ietf:params:oauth:token-type:saml2"
    PRESIGNED = "urn:daypass:token-type:presigned-get-caller-identity"
    AWS_CREDENTIALS = "urn:daypass:token-type:aws-credentials"


SUBJECT_TYPES = frozenset(TokenType) - {TokenType.AWS_CREDENTIALS, TokenType.ID_JAG}
"""A refresh token is the subject of an identity assertion only."""
ACTOR_TYPES = SUBJECT_TYPES - {TokenType.SAML2, TokenType.REFRESH_TOKEN}
REQUESTED_TYPES = frozenset(
    {
        TokenType.ACCESS_TOKEN,
        TokenType.JWT,
        TokenType.ID_TOKEN,
        TokenType.ID_JAG,
        TokenType.AWS_CREDENTIALS,
        TokenType.REFRESH_TOKEN,
    }
)


class Presented(NamedTuple):
    """A token in the request."""

    type: TokenType
    unverified: str

    def __repr__(self) -> str:
        return f"Presented({self.type})"


class Sender(Struct, frozen=True):
    """Who sent a request to the token endpoint."""

    # The client that authenticated, or a public client; None: the tokens in the request are the only proof.
    client: AuthenticatedClient | None = None
    binding: Binding | None = None  # the key that the sender proved to have, and to which an access token will be bound
    # The one-time proofs of the request. Whatever serves the request consumes them in its transaction.
    replays: tuple[ReplayEntry, ...] = ()

    @property
    def known_client(self) -> AuthenticatedClient:
        """The client, for a grant that needs one. Raises DaypassError(INVALID_CLIENT) when there is none."""
        if self.client is None:
            raise DaypassError(ErrorKind.INVALID_CLIENT, "This grant needs a client: authenticate, or send client_id.")
        return self.client


NOBODY: Final = Sender()
"""A request without a client and without a bound key."""


class TokenRequest(Struct, frozen=True):
    """The requested token, whatever the grant."""

    session: SessionRequest  # the requested session; its name may be "", for that of the subject
    role_arn: str = ""  # the role to assume; "": the subject's own session, possibly narrower
    external_id: str = ""
    audiences: tuple[str, ...] = ()  # the audiences of the token; (): the default
    scope: tuple[str, ...] | None = None  # None: the subject's full scope, or the default of the resource servers
    requested: TokenType = TokenType.ACCESS_TOKEN
    sender: Sender = NOBODY
    may_act: Party | None = None  # the only party that may exchange the token, as the actor; None: not limited
    openid: tuple[str, ...] = ()  # the scopes of OpenID Connect that a person has consented to


class ExchangeRequest(Struct, frozen=True):
    """A token exchange.

    `assertion`: the subject is an assertion of a provider (RFC 7523): access tokens of this server are not accepted.
    """

    subject: Presented
    token: TokenRequest
    actor: Presented | None = None
    assertion: bool = False


# --- DPoP (RFC 9449): proofs that the sender of a request has the key to which its tokens are bound


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
    env: Env,
    unverified_proof: str,
    method: str,
    path: str,
    access_token: str = "",
    origin: str = "",
    *,
    nonce: bool = True,
) -> DpopProof:
    """The proof of a request with `method` for `path` of the issuer, or of `origin`, and with `access_token` ("" at the token
    endpoint). `nonce`: whether it needs one.

    Raises DaypassError: INVALID_DPOP_PROOF, USE_DPOP_NONCE, UNAVAILABLE.
    """
    try:
        claims = env.oauth.proofs.dpop(unverified_proof)
    except JoseError as error:
        raise invalid_proof(str(error)) from None
    if claims.method != method:
        raise invalid_proof("its htm is not the method of the request")
    at = (origin or env.oauth.issuer) + path
    if claims.uri not in (at, at.replace("http://localhost:", "http://127.0.0.1:", 1)):  # one server, in development
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
    if nonce:
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
    """A nonce of this server shows that the proof was not made in advance."""
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
