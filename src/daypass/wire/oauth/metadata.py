"""The metadata and keys of the authorization server: public documents, which caches may store.

They come from memory alone, so they are served while the database is unavailable, and list only what is served.
Sources: RFC 8414, RFC 9728, OpenID Connect Discovery 1.0, RFC 7517.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import CLAIMS_OF, ClaimName
from daypass.operations.iam.account import PLACE
from daypass.operations.oauth.web_identity_token import CLAIMS as WEB_IDENTITY_CLAIMS
from daypass.ports import AuthorizationServer
from daypass.wire.http import Response, public_document
from daypass.wire.oauth.endpoint import RESOURCE_PATH, EndpointContext
from daypass.wire.oauth.errors import JSON

JWKS_PATH: Final = "/.well-known/jwks.json"
OUTBOUND_PATH: Final = f"/{PLACE}/"
OUTBOUND_JWKS: Final = "/.well-known/jwks.json"
_OUTBOUND = re.compile(rf"({OUTBOUND_PATH}[0-9a-f-]{{36}})(/\.well-known/(?:openid-configuration|jwks\.json))")
_CLAIMS: Final = ("sub", "auth_time", "acr", "amr", "nonce", "sid", "act")
MAX_AGE_SECONDS: Final = 3600
"""How long the documents may be cached. A key is published more than a day before it signs."""


def authorization_server(server: AuthorizationServer, served: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 8414, 2. `served`: the members that the other endpoints add."""
    return {
        "issuer": server.issuer,
        "jwks_uri": server.issuer + JWKS_PATH,
        **served,
    }


def openid_configuration(server: AuthorizationServer, served: Mapping[str, Any]) -> dict[str, Any]:
    """OpenID Connect Discovery 1.0, 3: for clients that sign people in."""
    return {
        **authorization_server(server, served),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(server.signer.algorithms),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "scopes_supported": ["openid", *CLAIMS_OF, "offline_access"],
        "claims_supported": [*_CLAIMS, *get_args(ClaimName)],
    }


def protected_resource(server: AuthorizationServer, served: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 9728, 2: this server as a resource, for its endpoints that accept access tokens."""
    shared = (
        "dpop_signing_alg_values_supported",
        "tls_client_certificate_bound_access_tokens",
        "authorization_details_types_supported",
    )
    return {
        "resource": server.issuer,
        "authorization_servers": [server.issuer],
        "jwks_uri": server.issuer + JWKS_PATH,
        "bearer_methods_supported": ["header"],
        **{name: served[name] for name in shared if name in served},
    }


def outbound_configuration(server: AuthorizationServer, path: str) -> dict[str, Any]:
    """OpenID Connect Discovery for the issuer of an account's tokens for other clouds. `path`: of that issuer."""
    return {
        "issuer": server.issuer + path,
        "jwks_uri": server.issuer + path + OUTBOUND_JWKS,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(server.web_identity_algorithms),
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "jti", "act", WEB_IDENTITY_CLAIMS],
    }


class Document:
    """Serves a document with an entity tag. `make`: its bytes as they are now. `summary`: what it is, for the reference
    page.
    """

    def __init__(self, make: Callable[[AuthorizationServer], bytes], summary: str) -> None:
        self.summary = summary
        self._make = make

    async def __call__(self, ctx: EndpointContext) -> Response:
        """The document, or 304 for a client that has it (RFC 9110, 13.1.2)."""
        return public_document(ctx.request, self._make(ctx.server), JSON, MAX_AGE_SECONDS)


async def outbound(ctx: EndpointContext) -> Response:
    """Metadata and keys of the issuer of an account's tokens for other clouds. Raises DaypassError(NOT_FOUND).

    Nothing is looked up, so that they are served while the database is unavailable. An issuer that no account has
    never signs a token.
    """
    match = _OUTBOUND.fullmatch(ctx.request.raw_path.decode("latin-1"))
    if match is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "This issuer does not exist.")
    issuer, document = match.groups()
    if document == OUTBOUND_JWKS:
        body = ctx.server.signer.jwks()
    else:
        body = json.dumps(outbound_configuration(ctx.server, issuer)).encode("ascii")
    return public_document(ctx.request, body, JSON, MAX_AGE_SECONDS)


def documents(served: Callable[[AuthorizationServer], Mapping[str, Any]]) -> dict[str, Document]:
    """The documents by path. `served`: what the metadata say of the other endpoints."""

    def text(make: Callable[[AuthorizationServer, Mapping[str, Any]], dict[str, Any]], summary: str) -> Document:
        return Document(lambda server: json.dumps(make(server, served(server))).encode("ascii"), summary)

    return {
        JWKS_PATH: Document(
            lambda server: server.signer.jwks(), "The public keys that verify access tokens (RFC 7517)"
        ),
        "/.well-known/oauth-authorization-server": text(
            authorization_server, "Authorization server metadata (RFC 8414)"
        ),
        RESOURCE_PATH: text(protected_resource, "This server as a protected resource (RFC 9728)"),
        "/.well-known/openid-configuration": text(
            openid_configuration, "The same for clients of OpenID Connect Discovery"
        ),
    }
