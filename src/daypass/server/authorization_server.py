"""The authorization server of the settings: its issuer, its keys and the verifier of proofs of clients."""

from __future__ import annotations

from daypass.config import Settings
from daypass.crypto.keys import ALWAYS, KeyRings, Ring
from daypass.crypto.signing import RINGS, RingSigner
from daypass.federation.client_proofs import ClientDocuments, SignedProofs
from daypass.federation.keys import IssuerKeys
from daypass.federation.sources import Getter
from daypass.ports import NO_OAUTH, AuthorizationServer, OAuthKeys
from daypass.ports.clock import Clock


def rings_of(settings: Settings) -> tuple[Ring, ...]:
    """The rings that need keys: those of every installation, and those of the algorithms for access tokens."""
    wanted = (*_algorithms(settings), *settings.oauth.web_identity_algorithms)
    return tuple(dict.fromkeys((*ALWAYS, *(RINGS[name] for name in wanted))))


def authorization_server(
    settings: Settings, rings: KeyRings, clock: Clock, issuers: IssuerKeys, getter: Getter
) -> AuthorizationServer:
    """The authorization server. It exists only with `server.public_url`, which is its issuer. `getter`: outbound access."""
    url, oauth = settings.server.public_url.rstrip("/"), settings.oauth
    if not url:
        return NO_OAUTH
    signer = RingSigner(rings, clock, _algorithms(settings))
    documents = ClientDocuments(getter.fetcher, allow_private=getter.allow_private)
    return AuthorizationServer(
        url,
        OAuthKeys(signer, SignedProofs(issuers), documents),
        oauth.algorithm,
        oauth.algorithm_of(),
        tuple(dict.fromkeys(oauth.web_identity_algorithms)),
        oauth.registration,
    )


def _algorithms(settings: Settings) -> set[str]:
    """OpenID Connect Discovery 1.0, 3 requires RS256 for ID tokens."""
    always = {"RS256"} if settings.server.public_url else set()
    return always | {settings.oauth.algorithm, *settings.oauth.algorithm_of().values()}
