"""The paths of sign-in pages, static files, and the pages of errors and runbooks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.monitoring import help as written
from daypass.wire.http import Response
from daypass.wire.routing import GET, POST, Route
from daypass.wire.web import devices, render, sign_in
from daypass.wire.web.context import LOGIN, Page, PageContext, ParameterCheck, Site
from daypass.wire.web.cookies import theme
from daypass.wire.web.render import PAGE_ERRORS, page


def web_routes(site: Site, check: ParameterCheck) -> tuple[Route, ...]:
    """Every path with its handler."""

    def show(path: str, serve: Page, summary: str, operation: str = "") -> Route:
        return Route(path, site.handler(operation, serve), summary, GET, PAGE_ERRORS, operation)

    def submit(path: str, serve: Page, summary: str, operation: str) -> Route:
        page = next((page for page in (LOGIN, devices.PAGE) if path.startswith(f"{page}/")), "/account")
        return Route(path, site.handler(operation, serve), summary, POST, PAGE_ERRORS, operation, page)

    def change(name: str, perform: devices.Change, summary: str, operation: str) -> Route:
        return submit(f"{devices.PAGE}/{name}", devices.changing(perform), summary, operation)

    return (
        show(LOGIN, sign_in.login, "The sign-in page"),
        show("/login/providers", sign_in.providers, "The identity providers of an account, to sign in with"),
        show(sign_in.PROVIDER, sign_in.with_provider, "Takes a browser to an OpenID Connect provider", sign_in.SIGN_IN),
        show("/login/callback/", sign_in.callback, "Takes the answer of an OpenID Connect provider", sign_in.SIGN_IN),
        submit("/login/password", sign_in.submit_login, "Takes account, user name and password", sign_in.SIGN_IN),
        submit("/login/code", sign_in.submit_code, "Takes the MFA code of a sign-in", sign_in.SIGN_IN),
        submit("/login/passkey", sign_in.submit_passkey, "Signs in with a passkey alone", sign_in.SIGN_IN),
        submit(
            "/login/second-passkey", sign_in.submit_second_passkey, "Takes a passkey after a password", sign_in.SIGN_IN
        ),
        submit("/login/recovery", sign_in.submit_recovery, "Takes a recovery code after a password", sign_in.SIGN_IN),
        submit("/login/new-password", sign_in.submit_new_password, "Takes a new password", sign_in.SIGN_IN),
        show("/login/signed-out", sign_in.signed_out, "The page after signing out"),
        submit("/logout", sign_in.logout, "Signs the browser out", sign_in.SIGN_OUT),
        show("/account", sign_in.account, "The person and the browsers in which they are signed in", sign_in.LIST),
        submit("/account/end", sign_in.end, "Signs a browser out", sign_in.SIGN_OUT),
        show(devices.PAGE, devices.page, "The person's passkeys, devices and recovery codes", devices.LIST),
        change("add", devices.add, "Registers a passkey", devices.REGISTER),
        change("rename", devices.rename, "Renames a passkey", devices.UPDATE),
        change("remove", devices.remove, "Removes a passkey", devices.DELETE),
        change("new-app", partial(devices.new_app, check), "Makes a virtual MFA device", devices.NEW_APP),
        change("enable-app", partial(devices.enable_app, check), "Enables the virtual MFA device", devices.ENABLE_APP),
        change("recovery-codes", devices.recovery_codes, "Makes recovery codes", devices.CODES),
        change("chat-code", devices.chat_code, "Makes a code for a chat user", devices.CHAT_CODE),
        change("chat-unlink", devices.unlink, "Unlinks a chat user", devices.CHAT_UNLINK),
        submit("/account/withdraw", sign_in.withdraw, "Removes a remembered consent", sign_in.WITHDRAW),
        Route(
            PREFIX,
            site.handler("", help_page, always=True),
            "Runbooks, and what errors mean",
            GET,
            PAGE_ERRORS,
        ),
        Route(render.PREFIX, site.handler("", sign_in.file, always=True), "Style sheet and images", GET, PAGE_ERRORS),
    )


# --- The pages of help: a runbook for each alert, and what each error means


PREFIX: Final = "/help/"
_TITLES: Final = {written.RUNBOOKS: "Runbooks", written.ERRORS: "Errors"}
_ABSENT: Final = DaypassError(ErrorKind.NOT_FOUND, "No help page has this name.")


async def help_page(ctx: PageContext) -> Response:
    """GET /help/, /help/errors, /help/errors/CODE, /help/runbooks, /help/runbooks/ALERT"""
    from markupsafe import Markup  # noqa: PLC0415  # comes with Jinja2

    books = await asyncio.to_thread(written.pages)
    book, _, name = ctx.request.raw_path.decode("latin-1").removeprefix(PREFIX).partition("/")
    if (book and book not in books) or (name and name not in books[book]):
        raise _ABSENT
    return page(
        "help",
        theme=theme(ctx.request.headers),
        title=name or _TITLES.get(book, "Help"),
        text=Markup(books[book][name]) if name else "",  # noqa: S704  # from our own package
        books={each: (_TITLES[each], () if name else books[each]) for each in ([book] if book else books)},
    )
