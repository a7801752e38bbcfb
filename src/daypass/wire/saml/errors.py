"""ErrorKind to the pages of a login by browser: code and status. It decides nothing else, and shows nothing but
`public`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from msgspec.structs import replace

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, JsonErrors
from daypass.wire.saml import pages

NO_SNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NO_STORE: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    NO_SNIFF,
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)
_OTHER: Final = ("InvalidRequest", 400)


_EXCEPTIONS: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.UNKNOWN_OPERATION: ("NotFound", 404),
    Kind.NOT_FOUND: ("NotFound", 404),
    Kind.MISSING_ACTION: _OTHER,
    Kind.UNSUPPORTED_OPERATION: _OTHER,
    Kind.INVALID_INPUT: _OTHER,
    Kind.REQUEST_TOO_LARGE: ("RequestEntityTooLarge", 413),
    Kind.HEADERS_TOO_LARGE: ("RequestHeaderSectionTooLarge", 431),
    Kind.PACKED_POLICY_TOO_LARGE: ("PackedPolicyTooLarge", 400),
    Kind.EXPIRED_IDENTITY_TOKEN: ("ExpiredToken", 400),
    Kind.IDP_REJECTED_CLAIM: ("IDPRejectedClaim", 403),
}


def wire_error(kind: Kind) -> tuple[str, int]:
    """Code and HTTP status. Kinds that cannot occur in a sign-in share one case."""
    return _EXCEPTIONS.get(kind) or _of_family(kind.family)


def _of_family(family: Family) -> tuple[str, int]:
    match family:
        case Family.REQUEST:
            return "ValidationError", 400
        case Family.PROOF:
            return "InvalidIdentityToken", 400
        case Family.DENIED:
            return "AccessDenied", 403
        case Family.THROTTLED:
            return "Throttling", 429
        case Family.UNAVAILABLE:
            return "ServiceUnavailable", 503
        case Family.CONTENT | Family.CREDENTIALS | Family.ABSENT | Family.CONFLICT | Family.UPSTREAM:
            return _OTHER
        case _:
            assert_never(family)


def html(body: bytes, *, status: int = 200, allowed: str = "") -> Response:
    """A page. `allowed`: the additional origin to which a form may redirect."""
    policy = (
        f"default-src 'none'; style-src 'self'; form-action 'self'{allowed}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = (*NO_STORE, (b"content-security-policy", policy.encode("ascii")))
    return Response(status, body, b"text/html; charset=utf-8", headers)


class PageErrors:
    """`front.ErrorFormat` for browsers."""

    def refused(self, request: Request, refusal: Refusal) -> Response:
        code, status = wire_error(refusal.error.kind)
        page = html(pages.error_page(code, refusal.error.public, request.request_id, refusal.encoded), status=status)
        return replace(page, operation=refusal.operation, code=code)

    def broken(self, request: Request) -> Response:
        page = html(pages.error_page(INTERNAL_CODE, INTERNAL, request.request_id, ""), status=500)
        return replace(page, code=INTERNAL_CODE)


PAGE_ERRORS: Final[ErrorFormat] = PageErrors()
TOKEN_ERRORS: Final[ErrorFormat] = JsonErrors(wire_error, NO_STORE)
"""For the command line, which exchanges a code."""
