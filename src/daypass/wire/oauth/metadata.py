"""The metadata and keys of the authorization server: public documents, which caches may store.

They come from memory alone, so they are served while the database is unavailable, and list only what is served.
Sources: RFC 8414, RFC 9728, OpenID Connect Discovery 1.0, RFC 7517.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import CLAIMS_OF, FAPI_ALGORITHMS, AuthMethod, ClaimName
from daypass.operations.iam.account import PLACE
from daypass.operations.oauth.access_token import ACR_VALUES
from daypass.operations.oauth.web_identity_token import CLAIMS as WEB_IDENTITY_CLAIMS
from daypass.ports import AuthorizationServer
from daypass.wire.front import Front
from daypass.wire.http import Response, public_document
from daypass.wire.oauth import authorize, aws_sign_in, consent, registration, resources
from daypass.wire.oauth.endpoint import (
    RESOURCE_PATH,
    CrossOrigin,
    EndpointContext,
    OAuthEndpoint,
    Serve,
    for_every_page,
    for_no_page,
    for_pages_of_client,
)
from daypass.wire.oauth.errors import ERRORS, JSON, TYPE
from daypass.wire.oauth.resources import introspection, revocation, userinfo
from daypass.wire.oauth.token import GRANTS, token
from daypass.wire.routing import GET, POST, Route
from daypass.wire.web.context import Page, Site
from daypass.wire.web.render import PAGE_ERRORS

JWKS_PATH: Final = "/.well-known/jwks.json"
OUTBOUND_PATH: Final = f"/{PLACE}/"
OUTBOUND_JWKS: Final = "/.well-known/jwks.json"
_OUTBOUND = re.compile(rf"({OUTBOUND_PATH}[0-9a-f-]{{36}})(/\.well-known/(?:openid-configuration|jwks\.json))")
_CLAIMS: Final = ("sub", "auth_time", "acr", "amr", "nonce", "sid", "act")
MAX_AGE_SECONDS: Final = 3600
"""How long the documents may be cached. A key is published more than a day before it signs."""


def authorization_server(server: AuthorizationServer, served: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 8414, 2. `served`: the members that the other endpoints add."""
    return {"issuer": server.issuer, "jwks_uri": server.issuer + JWKS_PATH, **served}


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


# --- The paths of the authorization server, and what the metadata say of them


SIGN_IN_ERRORS: Final = aws_sign_in.SignInErrors()
_MANAGES: Final = "Shows, changes and deletes a client's own registration (RFC 7592)"
_OF_MANAGING: Final = GET | frozenset({"PUT", "DELETE"})
_PUSH: Final = "daypass:PushAuthorizationRequest"
_READ: Final = "daypass:GetServerMetadata"
_TOKEN: Final = "/oauth2/token"  # a path
_INTROSPECT: Final = "/oauth2/introspect"
_REVOKE: Final = "/oauth2/revoke"
_USERINFO: Final = "/oauth2/userinfo"
AUTH_METHODS: Final = get_args(AuthMethod)
_CLIENT_METHODS: Final = tuple(name for name in AUTH_METHODS if name != "none")
_BEARER: Final = ("Bearer", "DPoP")  # RFC 8414, 2 allows names of access token types here


_ASKS_TO_SIGN_OUT: Final = "Asks a person whether to sign out (OpenID Connect)"


def oauth_routes(front: Front, site: Site, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. `site`: of the pages. `certificate_header`: see `RouteSettings`."""

    def route(
        path: str,
        operation: str,
        serve: Serve,
        summary: str,
        methods: frozenset[str] = POST,
        pages: CrossOrigin = for_no_page,
    ) -> Route:
        endpoint = OAuthEndpoint(front, operation, serve, certificate_header, pages)
        allowed = methods if pages is for_no_page else methods | {"OPTIONS"}
        return Route(path, endpoint, summary, allowed, ERRORS, operation)

    def shown(
        path: str, serve: Page, summary: str, methods: frozenset[str], operation: str = authorize.OPERATION
    ) -> Route:
        return Route(path, site.handler(operation, serve), summary, methods, PAGE_ERRORS, operation)

    own, every = for_pages_of_client, for_every_page
    return (
        shown(authorize.PATH, authorize.authorize, "Asks a person for consent (RFC 6749, OpenID Connect)", GET | POST),
        shown(authorize.CONSENT, authorize.decide, "Takes the consent of a person", POST),
        shown(resources.LOGOUT, resources.ask_logout, _ASKS_TO_SIGN_OUT, GET | POST, resources.SIGN_OUT),
        shown(resources.CONFIRM_LOGOUT, resources.confirm_logout, "Signs the browser out", POST, resources.SIGN_OUT),
        route(consent.START, consent.OPERATION, consent.start, "Begins the sign-in of a device (RFC 8628)"),
        shown(consent.PAGE, consent.page, "Asks for the code that a device shows", GET, consent.OPERATION),
        shown(consent.CHECK, consent.check, "Shows what a device asks for", POST, consent.OPERATION),
        shown(consent.DECIDE, consent.decide, "Takes the consent of a person for a device", POST, consent.OPERATION),
        route(authorize.PUSH, _PUSH, authorize.push, "Takes a client's authorization request (RFC 9126)", POST, own),
        *(route(path, _READ, document, document.summary, GET) for path, document in documents(served_metadata).items()),
        route(OUTBOUND_PATH, _READ, outbound, "Metadata and keys of an account's issuer for other clouds", GET),
        route(_TOKEN, "daypass:ExchangeToken", token, "Issues access tokens (RFC 6749, 8693, 7523)", POST, own),
        route(registration.PATH, registration.OPERATION, registration.create, "Registers a client (RFC 7591)"),
        route(f"{registration.PATH}/", registration.OPERATION, registration.manage, _MANAGES, _OF_MANAGING),
        route(_INTROSPECT, "daypass:IntrospectToken", introspection, "Introspects an access token (RFC 7662)"),
        route(_REVOKE, "daypass:RevokeToken", revocation, "Ends the session of an access token (RFC 7009)", POST, own),
        route(
            _USERINFO, "daypass:GetUserInfo", userinfo, "Who an access token is of (OpenID Connect)", GET | POST, every
        ),
        *_sign_in_routes(front),
        *(shown(path, serve, summary, GET) for path, serve, summary in aws_sign_in.PAGES),
    )


def _sign_in_routes(front: Front) -> Iterator[Route]:
    """The operations of AWS Sign-In, which has its own errors."""
    for row in aws_sign_in.ROWS:
        endpoint = OAuthEndpoint(front, row.operation, row.serve, errors=SIGN_IN_ERRORS)
        yield Route(row.path, endpoint, row.summary, POST, SIGN_IN_ERRORS, row.operation)


def served_metadata(server: AuthorizationServer) -> Mapping[str, Any]:
    """Metadata of the other endpoints (RFC 8414, 2; RFC 9396, 10)."""
    return {
        "authorization_endpoint": server.issuer + authorize.PATH,
        "end_session_endpoint": server.issuer + resources.LOGOUT,
        "pushed_authorization_request_endpoint": server.issuer + authorize.PUSH,
        "device_authorization_endpoint": server.issuer + consent.START,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "request_uri_parameter_supported": False,  # of request objects; a pushed request has one (RFC 9126)
        "client_id_metadata_document_supported": True,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "acr_values_supported": list(ACR_VALUES),
        "token_endpoint": server.issuer + _TOKEN,
        "userinfo_endpoint": server.issuer + _USERINFO,
        "grant_types_supported": list(GRANTS),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(FAPI_ALGORITHMS),
        "dpop_signing_alg_values_supported": list(FAPI_ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": True,
        "introspection_endpoint": server.issuer + _INTROSPECT,
        "introspection_endpoint_auth_methods_supported": [*_CLIENT_METHODS, *_BEARER],
        "introspection_endpoint_auth_signing_alg_values_supported": list(FAPI_ALGORITHMS),
        "introspection_signing_alg_values_supported": list(server.signer.algorithms),
        **({"registration_endpoint": server.issuer + registration.PATH} if server.registration else {}),
        "revocation_endpoint": server.issuer + _REVOKE,
        "revocation_endpoint_auth_methods_supported": [*AUTH_METHODS, *_BEARER],
        "revocation_endpoint_auth_signing_alg_values_supported": list(FAPI_ALGORITHMS),
        "authorization_details_types_supported": [TYPE],
    }
