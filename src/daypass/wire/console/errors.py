"""Error pages of the console. They have its navigation, and show nothing but `public`."""

from __future__ import annotations

from typing import Any, Final

from daypass.wire.console.navigation import navigation
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Request, Response
from daypass.wire.web.errors import PageErrors
from daypass.wire.web.render import page


class ConsoleErrors(PageErrors):
    """`front.ErrorFormat` for the console."""

    template = "console/error"

    def show(self, request: Request, status: int, refusal: Refusal | None, **values: Any) -> Response:
        """See `PageErrors.show`."""
        path = request.raw_path.decode("latin-1")
        operation = refusal.operation if refusal is not None else ""
        return page(
            self.template,
            status=status,
            navigation=navigation(path),
            person=None,
            account="",
            done="",
            action=operation,
            request_id=request.request_id,
            **values,
        )


CONSOLE_ERRORS: Final[ErrorFormat] = ConsoleErrors()
