"""A request to the token endpoint, in typed form."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from daypass.domain.delegation import Party
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.binding import Binding
from daypass.operations.assume.request import SessionRequest
from daypass.operations.oauth.client_authentication import AuthenticatedClient


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
    """Who sent a request to the token endpoint.

    Attributes:
        client: the client that authenticated, or a public client; None: the tokens in the request are the only proof.
        binding: the key that the sender proved to have, and to which an access token will be bound.
        replays: the one-time proofs of the request. Whatever serves the request consumes them in its transaction.
    """

    client: AuthenticatedClient | None = None
    binding: Binding | None = None
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
    """The requested token, whatever the grant.

    Attributes:
        session: the requested session; its name may be "", for that of the subject.
        role_arn: the role to assume; "": the subject's own session, possibly narrower.
        audiences: the audiences of the token; (): the default.
        scope: None: the subject's full scope, or the default of the resource servers.
        openid: the scopes of OpenID Connect that a person has consented to.
        may_act: the only party that may exchange the token, as the actor; None: not limited.
    """

    session: SessionRequest
    role_arn: str = ""
    external_id: str = ""
    audiences: tuple[str, ...] = ()
    scope: tuple[str, ...] | None = None
    requested: TokenType = TokenType.ACCESS_TOKEN
    sender: Sender = NOBODY
    may_act: Party | None = None
    openid: tuple[str, ...] = ()


class ExchangeRequest(Struct, frozen=True):
    """A token exchange.

    `assertion`: the subject is an assertion of a provider (RFC 7523): access tokens of this server are not accepted.
    """

    subject: Presented
    token: TokenRequest
    actor: Presented | None = None
    assertion: bool = False
