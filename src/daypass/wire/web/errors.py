"""ErrorKind to error pages: code, status and a page with what a person can do next. It shows nothing but `public`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, wire_error
from daypass.wire.web.cookies import theme
from daypass.wire.web.render import page

_TITLES: Final[Mapping[Family, str]] = {
    Family.ABSENT: "Page not found",
    Family.DENIED: "Not allowed",
    Family.THROTTLED: "Too many requests",
    Family.UNAVAILABLE: "Not available now",
}
_OTHER: Final = "This did not work"
_STATUS: Final[Mapping[Kind, int]] = {Kind.ALREADY_EXISTS: 409, Kind.OVERLOADED: 503}


class PageErrors:
    """`front.ErrorFormat` for browsers."""

    def refused(self, request: Request, refusal: Refusal) -> Response:
        error = refusal.error
        code, status = wire_error(error.kind)
        title = _TITLES.get(error.kind.family, _OTHER)
        response = self.show(
            request,
            _STATUS.get(error.kind, status),
            refusal,
            title=title,
            message=error.public,
            code=code,
            encoded=refusal.encoded,
        )
        return replace(response, operation=refusal.operation, code=code)

    def broken(self, request: Request) -> Response:
        response = self.show(request, 500, None, title=_OTHER, message=INTERNAL, code=INTERNAL_CODE, encoded="")
        return replace(response, code=INTERNAL_CODE)

    def show(self, request: Request, status: int, refusal: Refusal | None, **values: Any) -> Response:  # noqa: ARG002  # for pages that show more of it
        """The page. `refusal`: None for an unexpected failure."""
        return page("error", status=status, theme=theme(request.headers), request_id=request.request_id, **values)


PAGE_ERRORS: Final[ErrorFormat] = PageErrors()
