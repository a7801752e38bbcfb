"""Certificates by role, and data of other servers: keys, metadata, answers and proofs of clients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from daypass.domain.arn import UNKNOWN, Source


class CertificateKind(StrEnum):
    """The identity that a certificate proves, and its audience."""

    SSH_USER = "ssh-user"  # to sshd
    SSH_HOST = "ssh-host"  # to ssh
    DATABASE = "database"  # to PostgreSQL and other servers that map the CN of a client certificate to a user


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A certificate to issue.

    `names`: principals, host names, or the one user of the database. `not_after` in ms. `critical`: critical options.
    """

    kind: CertificateKind
    account: str
    public_key: str  # a line of OpenSSH
    names: Sequence[str]
    key_id: str
    not_after: int
    critical: Mapping[str, str]
    extensions: Collection[str]


@dataclass(frozen=True, slots=True)
class MadeCertificate:
    """A certificate as its program reads it.

    `authority`: the id of the ring key that signed it. `fingerprint`: of the certified key.
    """

    text: str
    serial: int
    authority: str
    fingerprint: str


# --- Data of other servers: providers' keys, metadata and answers, and proofs of clients


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's public keys as a JWKS (RFC 7517): its bytes, and their SHA-256 in hex, the cache key of parsed
    keys.
    """

    jwks: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """The status of a provider's keys. Times in ms, 0: never.

    Attributes:
        kind: where they come from: static | file | url | discovery.
        place: the file or URL.
        keys: kid, kty, alg, crv of each.
        fetched_at: the last successful fetch; due_at: when they will be fetched again; usable_until: how long they are
        used if fetches keep failing.
        tried_at, failed_at, error: the last attempt; error is "" if it succeeded.
        skew_ms: the issuer's clock minus ours, None when it is not known.
    """

    kind: str
    place: str
    keys: tuple[Mapping[str, str], ...]
    fetched_at: int = 0
    due_at: int = 0
    usable_until: int = 0
    tried_at: int = 0
    failed_at: int = 0
    error: str = ""
    skew_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SamlMetadataView:
    """The metadata of a SAML identity provider. `certificates` are those of its signing keys, DER."""

    entity_id: str
    certificates: tuple[bytes, ...]
    valid_until: int = 0  # ms; 0: not stated
    sso_url: str = ""  # the address for an AuthnRequest (HTTP-Redirect binding); "" when it has none


@dataclass(frozen=True, slots=True)
class SamlArrival:
    """How a SAML response arrived. `url`: our address to which a browser posted it; "": it is a parameter of a call.

    `request_id`: the request of ours that it must answer; "": it must not answer any of ours. `source`: the sender's
    network; sources take turns, as nothing else is proven yet.
    """

    url: str = ""
    request_id: str = ""
    source: Source = UNKNOWN


class ProviderEndpoints(Struct, frozen=True):
    """The parts of a provider's discovery document for signing in (OpenID Connect Discovery 1.0, 3; RFC 9207, 3).

    `names_issuer`: its authorization responses have `iss`, so that one without it is refused. `secret_in_body`: it takes
    the client secret only as a parameter, not in the Authorization header.
    """

    issuer: str
    authorization: str
    token: str
    names_issuer: bool = False
    secret_in_body: bool = False


class ProviderTokens(Struct, frozen=True):
    """The unverified answer of a provider's token endpoint. `access_token` is "" when it returned none."""

    unverified_id_token: str
    access_token: str = ""

    def __repr__(self) -> str:
        return "ProviderTokens()"


class DpopClaims(Struct, frozen=True):
    """The claims of a DPoP proof (RFC 9449, 4.2). Its signature is verified by its own key; nothing else is checked.

    `thumbprint`: of that key (RFC 7638). Times in seconds; `expires_at` (`exp`) and `not_before` (`nbf`) are None when absent,
    `nonce` and `token_hash` (`ath`) "".
    """

    algorithm: str
    thumbprint: str
    id: str
    method: str
    uri: str
    issued_at: int
    nonce: str = ""
    token_hash: str = ""
    expires_at: int | None = None
    not_before: int | None = None


class OutboundFailed(Exception):
    """The request failed. The message is for an operator or the account's administrator; it contains no address.

    `status`: of an answer that is not a success, else 0.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
