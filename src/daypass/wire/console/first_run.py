"""The first administrator of a new installation, made in a browser by whoever has the set-up code."""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.accounts.bootstrap import (
    FirstAdministrator,
    awaits_first_administrator,
    create_first_administrator,
)
from daypass.operations.sign_in import password
from daypass.operations.sign_in.password import Browser
from daypass.wire.console.navigation import HOME, SETUP
from daypass.wire.console.visit import Console
from daypass.wire.http import Response
from daypass.wire.web.render import redirect
from daypass.wire.web.visit import Page, Visit

_START: Final = "/console/start"
_SHOWN_AGAIN: Final = frozenset({Family.DENIED, Family.CONTENT, Family.CONFLICT})


def page(console: Console) -> Page:
    """GET /console/setup."""

    async def serve(visit: Visit) -> Response:
        visit.anonymous()
        if not console.setup_code or not await awaits_first_administrator(visit.env):
            return redirect(HOME)
        return _page(visit)

    return serve


def create(console: Console) -> Page:
    """POST /console/setup/create: then the person is signed in, at the first steps."""

    async def serve(visit: Visit) -> Response:
        call, form = visit.anonymous(), visit.form()
        new = FirstAdministrator(
            form.get("account", "").strip(), form.get("user", "").strip(), form.get("password", "")
        )
        try:
            if new.password != form.get("repeated", ""):
                raise DaypassError(ErrorKind.VALIDATION, "The two passwords are different.")
            await create_first_administrator(visit.env, call, console.setup_code, form.get("code", "").strip(), new)
        except DaypassError as error:
            if error.kind.family not in _SHOWN_AGAIN:
                raise
            return _page(visit, await visit.refused(error), account=new.account, user=new.user)
        await console.setup_done()
        progress = await password.with_password(
            visit.env, call, Browser(visit.cookie), new.account, new.user, new.password
        )
        return visit.signed_in(progress.cookie, _START)

    return serve


def _page(visit: Visit, problem: str = "", account: str = "", user: str = "admin") -> Response:
    shown = {"problem": problem, "account": account, "user": user}
    return visit.page("setup", title="Set up Daypass", action=f"{SETUP}/create", person=None, **shown)
