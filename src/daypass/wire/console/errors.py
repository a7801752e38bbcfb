"""Error pages of the console. They have its navigation, and show nothing but `public`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from daypass.operations.sign_in.browser_session import SignedIn
from daypass.wire.console.navigation import navigation
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Request, Response
from daypass.wire.web.cookies import theme
from daypass.wire.web.errors import PageErrors
from daypass.wire.web.render import page


@dataclass(frozen=True, slots=True)
class ConsoleErrors(PageErrors):
    """`front.ErrorFormat` for the console. `person`: who is signed in, as far as that is known; `csrf`: for their forms."""

    person: SignedIn | None = None
    csrf: str = ""

    def show(self, request: Request, status: int, refusal: Refusal | None, **values: Any) -> Response:
        """See `PageErrors.show`."""
        path = request.raw_path.decode("latin-1")
        operation = refusal.operation if refusal is not None else ""
        return page(
            "console/error",
            status=status,
            theme=theme(request.headers),
            navigation=navigation(path),
            person=self.person,
            csrf=self.csrf,
            account="",
            done="",
            action=operation,
            request_id=request.request_id,
            **values,
        )


CONSOLE_ERRORS: Final[ErrorFormat] = ConsoleErrors()
