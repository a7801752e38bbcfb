"""The first administrator of a new installation, made in a browser by whoever has the set-up code."""

from __future__ import annotations

from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.accounts.bootstrap import (
    FirstAdministrator,
    awaits_first_administrator,
    create_first_administrator,
)
from daypass.operations.sign_in import password
from daypass.operations.sign_in.password import Browser
from daypass.wire.console.context import Console
from daypass.wire.console.navigation import HOME, SETUP
from daypass.wire.front import ErrorFormat, Refusal
from daypass.wire.http import Request, Response
from daypass.wire.web.context import Page, PageContext
from daypass.wire.web.errors import PageErrors
from daypass.wire.web.render import redirect

_START: Final = "/console/start"
_SHOWN_AGAIN: Final = frozenset({Family.DENIED, Family.CONTENT, Family.CONFLICT})


class _Errors(PageErrors):
    """For the form that is sent: while the server is overloaded it may have worked although nobody was told so."""

    def show(self, request: Request, status: int, refusal: Refusal | None, **values: Any) -> Response:
        """See `PageErrors.show`."""
        if refusal is not None and refusal.error.kind.family is Family.UNAVAILABLE:
            values["message"] += f" Open {HOME} again: if the administrator was made, it leads to the sign-in."
        return super().show(request, status, refusal, **values)


ERRORS: Final[ErrorFormat] = _Errors()


def page(console: Console) -> Page:
    """GET /console/setup."""

    async def serve(ctx: PageContext) -> Response:
        ctx.anonymous()
        if not console.setup_code or not await awaits_first_administrator(ctx.env):
            return redirect(HOME)
        return _page(ctx)

    return serve


def create(console: Console) -> Page:
    """POST /console/setup/create: then the person is signed in, at the first steps."""

    async def serve(ctx: PageContext) -> Response:
        call, form = ctx.anonymous(), ctx.form()
        new = FirstAdministrator(
            form.get("account", "").strip(), form.get("user", "").strip(), form.get("password", "")
        )
        try:
            if new.password != form.get("repeated", ""):
                raise DaypassError(ErrorKind.VALIDATION, "The two passwords are different.")
            await create_first_administrator(ctx.env, call, console.setup_code, form.get("code", "").strip(), new)
        except DaypassError as error:
            if error.kind.family not in _SHOWN_AGAIN:
                raise
            return _page(ctx, await ctx.refused(error), account=new.account, user=new.user)
        await console.setup_done()
        progress = await password.with_password(ctx.env, call, Browser(ctx.cookie), new.account, new.user, new.password)
        return ctx.signed_in(progress.cookie, _START)

    return serve


def _page(ctx: PageContext, problem: str = "", account: str = "", user: str = "admin") -> Response:
    shown = {"problem": problem, "account": account, "user": user}
    return ctx.page("setup", title="Set up Daypass", action=f"{SETUP}/create", person=None, **shown)
