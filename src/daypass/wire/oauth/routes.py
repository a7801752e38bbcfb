"""The paths of the authorization server, and what the metadata say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from daypass.domain.oauth.client import FAPI_ALGORITHMS, AuthMethod
from daypass.operations.oauth.access_token import ACR_VALUES
from daypass.ports import AuthorizationServer
from daypass.wire.front import Front
from daypass.wire.oauth import authorize, aws_sign_in, device, logout, registration
from daypass.wire.oauth.details import TYPE
from daypass.wire.oauth.endpoint import (
    CrossOrigin,
    OAuthEndpoint,
    Serve,
    for_every_page,
    for_no_page,
    for_pages_of_client,
)
from daypass.wire.oauth.errors import ERRORS
from daypass.wire.oauth.metadata import OUTBOUND_PATH, documents, outbound
from daypass.wire.oauth.resources import introspection, revocation, userinfo
from daypass.wire.oauth.token import GRANTS, token
from daypass.wire.routing import GET, POST, Route
from daypass.wire.web.context import Page, Site
from daypass.wire.web.errors import PAGE_ERRORS

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
        shown(
            logout.PATH, logout.ask, "Asks a person whether to sign out (OpenID Connect)", GET | POST, logout.OPERATION
        ),
        shown(logout.CONFIRM, logout.confirm, "Signs the browser out", POST, logout.OPERATION),
        route(device.START, device.OPERATION, device.start, "Begins the sign-in of a device (RFC 8628)"),
        shown(device.PAGE, device.page, "Asks for the code that a device shows", GET, device.OPERATION),
        shown(device.CHECK, device.check, "Shows what a device asks for", POST, device.OPERATION),
        shown(device.DECIDE, device.decide, "Takes the consent of a person for a device", POST, device.OPERATION),
        route(
            authorize.PUSH, _PUSH, authorize.push, "Takes an authorization request of a client (RFC 9126)", POST, own
        ),
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
    """The operations of AWS Sign-In, which has errors of its own."""
    for row in aws_sign_in.ROWS:
        endpoint = OAuthEndpoint(front, row.operation, row.serve, errors=SIGN_IN_ERRORS)
        yield Route(row.path, endpoint, row.summary, POST, SIGN_IN_ERRORS, row.operation)


def served_metadata(server: AuthorizationServer) -> Mapping[str, Any]:
    """What the metadata say of the other endpoints (RFC 8414, 2; RFC 9396, 10)."""
    return {
        "authorization_endpoint": server.issuer + authorize.PATH,
        "end_session_endpoint": server.issuer + logout.PATH,
        "pushed_authorization_request_endpoint": server.issuer + authorize.PUSH,
        "device_authorization_endpoint": server.issuer + device.START,
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
