"""Which pages of other origins may read an answer: those of single-page applications (CORS; Fetch standard, 3.3).

No answer here depends on a cookie, and credentials are never allowed, so a page gets nothing that a server could not get.
A preflight does not name a client and its answer shows nothing, so all are allowed. The answer itself allows an origin only if the
client of the request is public and has a redirect URI there: secrets of confidential clients do not belong in pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from daypass.domain.oauth.redirects import web_origins
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.wire.http import FixedHeaders, Header, Request, Response, only_value
from daypass.wire.oauth.errors import JSON

CrossOrigin: TypeAlias = Callable[[Request, AuthenticatedClient | None], tuple[Header, ...]]
"""The headers for the answer to a request, and to the client that sent it, if it is known."""

PREFLIGHT: Final = Response(
    200,
    b"",
    JSON,
    FixedHeaders(
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"authorization, content-type, dpop"),
        (b"access-control-max-age", b"7200"),
    ),
)
"""The answer to OPTIONS, at the paths that allow it."""

_EXPOSED: Final[Header] = (b"access-control-expose-headers", b"DPoP-Nonce, Retry-After, WWW-Authenticate")


def for_no_page(_request: Request, _client: AuthenticatedClient | None) -> tuple[Header, ...]:
    """No page of another origin."""
    return ()


def for_every_page(_request: Request, _client: AuthenticatedClient | None) -> tuple[Header, ...]:
    """Every page: the answer depends on the access token in a header alone."""
    return (b"access-control-allow-origin", b"*"), _EXPOSED


def for_pages_of_client(request: Request, client: AuthenticatedClient | None) -> tuple[Header, ...]:
    """The pages of a public client."""
    if client is None or client.settings.type != "public":
        return ()
    origin = only_value(request.headers, b"origin")
    if origin.decode("latin-1") not in web_origins(client.settings.redirect_uris):
        return ()
    return (b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED
