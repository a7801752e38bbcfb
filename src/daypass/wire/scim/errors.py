"""ErrorKind to SCIM errors (RFC 7644, 3.12). They show nothing but `public`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family
from daypass.operations.scim.provision import SCIM_TYPE
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, wire_error

MEDIA_TYPE: Final = b"application/scim+json"
HEADERS: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
STATUS: Final = "status"
"""The private fact with the status of a refusal, where its kind does not determine it."""
_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
_STATUS: Final[Mapping[Kind, int]] = {
    Kind.ALREADY_EXISTS: 409,
    Kind.CONCURRENT_MODIFICATION: 412,
    Kind.UNKNOWN_CREDENTIALS: 401,
    Kind.EXPIRED_CREDENTIALS: 401,
    Kind.MISSING_CREDENTIALS: 401,
    Kind.UNKNOWN_OPERATION: 404,
    Kind.OVERLOADED: 503,
}


class ScimErrors:
    """`front.ErrorFormat`."""

    def refused(self, request: Request, refusal: Refusal) -> Response:
        """See `front.ErrorFormat`."""
        error = refusal.error
        code, status = wire_error(error.kind)
        status = int(error.private.get(STATUS, _STATUS.get(error.kind, status)))
        kind = str(error.private.get(SCIM_TYPE, "uniqueness" if error.kind is Kind.ALREADY_EXISTS else ""))
        if not kind and error.kind.family is Family.CONTENT and status == 400:
            kind = "invalidValue"
        del request
        headers = (*HEADERS, (b"www-authenticate", b"Bearer")) if status == 401 else HEADERS
        body = _body(status, error.public, kind)
        return Response(status, body, MEDIA_TYPE, headers, refusal.operation, code)

    def broken(self, request: Request) -> Response:
        """See `front.ErrorFormat`."""
        del request
        return Response(500, _body(500, INTERNAL), MEDIA_TYPE, HEADERS, code=INTERNAL_CODE)


def _body(status: int, detail: str, kind: str = "") -> bytes:
    error = {"schemas": [_SCHEMA], "status": str(status), "detail": detail}
    if kind:
        error["scimType"] = kind
    return json.dumps(error).encode("ascii")


SCIM_ERRORS: Final[ErrorFormat] = ScimErrors()
