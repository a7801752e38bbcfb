"""ErrorKind to OAuth's errors: code, status and body. It decides nothing else, and shows nothing but `public`.

Sources: RFC 6749, 5.2; RFC 8693, 2.2.2; RFC 7523, 3.1; RFC 8707, 2; RFC 9396, 5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, assert_never

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family
from daypass.wire.access_token import DPOP_ERRORS, challenge
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import FixedHeaders, Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE

JSON: Final = b"application/json"
NO_STORE: Final = FixedHeaders(
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
)
INVALID_REQUEST: Final = "invalid_request"
INVALID_CLIENT: Final = "invalid_client"
INVALID_GRANT: Final = "invalid_grant"
_SERVER_ERROR: Final = "server_error"
_OTHER = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")  # what RFC 6749, 5.2 does not allow in error_description

_EXCEPTIONS: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.UNSUPPORTED_GRANT_TYPE: ("unsupported_grant_type", 400),
    Kind.AUTHORIZATION_PENDING: ("authorization_pending", 400),
    Kind.POLLING_TOO_FAST: ("slow_down", 400),
    Kind.EXPIRED_DEVICE_CODE: ("expired_token", 400),
    Kind.CONSENT_DENIED: ("access_denied", 400),
    Kind.UNSUPPORTED_RESPONSE_TYPE: ("unsupported_response_type", 400),
    Kind.REQUEST_OBJECT: ("request_not_supported", 400),
    Kind.UNSUPPORTED_TOKEN_TYPE: ("unsupported_token_type", 400),
    Kind.INVALID_CLIENT: (INVALID_CLIENT, 401),
    Kind.INVALID_GRANT: (INVALID_GRANT, 400),
    Kind.UNAUTHORIZED_CLIENT: ("unauthorized_client", 400),
    **{kind: (code, 400) for kind, code in DPOP_ERRORS.items()},
    Kind.INVALID_TARGET: ("invalid_target", 400),
    Kind.OUTBOUND_FEDERATION_DISABLED: ("invalid_target", 400),
    Kind.INVALID_SCOPE: ("invalid_scope", 400),
    Kind.INVALID_CLIENT_METADATA: ("invalid_client_metadata", 400),
    Kind.INVALID_REDIRECT_URI: ("invalid_redirect_uri", 400),
    Kind.INVALID_AUTHORIZATION_DETAILS: ("invalid_authorization_details", 400),
    Kind.MALFORMED_POLICY: ("invalid_authorization_details", 400),
    Kind.REQUEST_TOO_LARGE: (INVALID_REQUEST, 413),
    Kind.HEADERS_TOO_LARGE: (INVALID_REQUEST, 431),
}


def oauth_error(kind: Kind, unacceptable: str = INVALID_REQUEST, unproven: str = INVALID_CLIENT) -> tuple[str, int]:
    """Code and HTTP status.

    `unacceptable`: the code for a proof that is not accepted, or that policies do not admit; `unproven`: for a caller that
    did not authenticate. The endpoint and the grant set them.
    """
    return _EXCEPTIONS.get(kind) or _of_family(kind.family, unacceptable, unproven)


def _of_family(family: Family, unacceptable: str, unproven: str) -> tuple[str, int]:
    match family:
        case Family.REQUEST | Family.CONTENT | Family.CONFLICT:
            return INVALID_REQUEST, 400
        case Family.ABSENT:
            return INVALID_REQUEST, 404
        case Family.CREDENTIALS:
            return unproven, 401
        case Family.PROOF | Family.DENIED | Family.UPSTREAM:
            return unacceptable, 400
        case Family.THROTTLED:
            return "temporarily_unavailable", 429
        case Family.UNAVAILABLE:
            return "temporarily_unavailable", 503
        case _:
            assert_never(family)


class OAuthErrors:
    """`front.ErrorFormat`. `unacceptable`, `unproven`: see oauth_error.

    `resource`: the request is one for a protected resource whose metadata has this address. A proof that is not accepted is a
    401 there (RFC 6750, 3; RFC 9449, 7.1).
    """

    def __init__(self, unacceptable: str = INVALID_REQUEST, unproven: str = INVALID_CLIENT, resource: str = "") -> None:
        self._codes = unacceptable, unproven
        self._resource = resource

    def refused(self, request: Request, refusal: Refusal) -> Response:
        """See `front.ErrorFormat`. The body has no error code where the challenge has none (RFC 6750, 3.1)."""
        kind = refusal.error.kind
        code, status = oauth_error(kind, *self._codes)
        if self._resource and kind in DPOP_ERRORS:
            status = 401
        headers = (*NO_STORE, self._challenge(request, kind)) if status == 401 else NO_STORE
        shown = "" if self._resource and kind is Kind.MISSING_CREDENTIALS else code
        body = error_json(shown, refusal.error.public, request.request_id, refusal.encoded)
        return Response(status, body, JSON, headers, refusal.operation, code)

    def _challenge(self, request: Request, kind: Kind) -> Header:
        if self._resource:
            return challenge(request, kind, self._resource)
        return b"www-authenticate", b'Basic realm="daypass"'

    def broken(self, request: Request) -> Response:
        body = error_json(_SERVER_ERROR, INTERNAL, request.request_id)
        return Response(500, body, JSON, NO_STORE, code=INTERNAL_CODE)


def error_json(code: str, description: str, request_id: str, encoded: str = "") -> bytes:
    """The error's body. `code`: "" for none. `encoded`: the encoded authorization message, if there is one."""
    error = {"error": code, "error_description": _OTHER.sub("?", description), "request_id": request_id}
    if not code:
        del error["error"]
    if encoded:
        error["encoded_authorization_message"] = encoded
    return json.dumps(error).encode("ascii")


ERRORS: Final[ErrorFormat] = OAuthErrors()
