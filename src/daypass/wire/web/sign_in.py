"""The pages of the sign-in, of signing out, and of the browsers in which a person is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, Family
from daypass.domain.session import PASSKEY
from daypass.operations.oauth import consent
from daypass.operations.sign_in import browser_session, password, provider, step_up
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.password import Browser, SignInStep
from daypass.operations.sign_in.provider import Arrival
from daypass.operations.sign_in.ticket import CODE, NEW_PASSWORD
from daypass.ports import Call
from daypass.wire.http import Response
from daypass.wire.web import cookies, render
from daypass.wire.web.context import LOGIN, PageContext
from daypass.wire.web.render import redirect

SIGN_IN: Final = "daypass:SignIn"
SIGN_OUT: Final = "daypass:SignOut"
PROVIDER: Final = "/login/provider"
SAML_LOGIN: Final = "/saml/login"
LIST: Final = "daypass:ListBrowserSessions"
_SCRIPTS: Final = ("passkey.js",)
WITHDRAW: Final = "daypass:WithdrawConsent"
_SHOWN_AGAIN: Final = frozenset({Family.DENIED, Family.CONTENT})
"""Refusals after which a person can correct what they typed. They are recorded, then shown above the form."""


async def login(ctx: PageContext) -> Response:
    """GET /login. `again`: also for a person who is signed in already."""
    query = ctx.query()
    following = cookies.checked(query.get("next", ""))
    call = ctx.anonymous()
    if not query.get("again") and await ctx.person() is not None:
        return redirect(following)
    again = query.get("again", "")
    shown = {"reason": _REASONS.get(again, ""), "again": again if again in _REASONS else ""}
    return await _login_page(ctx, call, following, account=cookies.account(ctx.request.headers), **shown)


_REASONS: Final = {
    "mfa": "The application asks for a sign-in with MFA.",
    "age": "The application asks you to sign in again.",
}


async def providers(ctx: PageContext) -> Response:
    """GET /login/providers: the identity providers of an account, as links."""
    call, query = ctx.anonymous(), ctx.query()
    following, account = cookies.checked(query.get("next", "")), query.get("account", "").strip()
    again = query.get("again", "") if query.get("again") in _REASONS else ""
    links = await _links(ctx, call, account, following, again)
    if not links:
        problem = "People of this account do not sign in with an identity provider, or the account does not exist."
        return await _login_page(ctx, call, following, problem=problem, account=account, again=again)
    remembered = ctx.site.cookies.remember_account(account)
    return ctx.page("providers", *remembered, title="Choose how to sign in", links=links, person=None)


async def _links(ctx: PageContext, call: Call, account: str, following: str, again: str) -> list[tuple[str, str]]:
    """The address of a sign-in with each provider of an account, and the provider's name."""
    links = []
    for source in await provider.sources(ctx.env, call, account) if account else ():
        path = PROVIDER if ":oidc-provider/" in source.arn else SAML_LOGIN
        given = {"provider": source.arn, "next": following, "again": again}
        links.append((f"{path}?{urlencode({name: value for name, value in given.items() if value})}", source.name))
    return links


async def with_provider(ctx: PageContext) -> Response:
    """GET /login/provider: takes the browser to an OpenID Connect provider."""
    call, query = ctx.anonymous(), ctx.query()
    following = cookies.checked(query.get("next", ""))
    where = await provider.begin(
        ctx.env, call, ctx.cookie, query.get("provider", ""), following, again=query.get("again") in _REASONS
    )
    return redirect(where, *ctx.fresh_cookie())


async def callback(ctx: PageContext) -> Response:
    """GET /login/callback/…: a person comes back from an OpenID Connect provider."""
    call = ctx.anonymous()
    path = ctx.request.raw_path.decode("latin-1")
    progress = await provider.complete(ctx.env, call, Arrival(path, ctx.query(), ctx.cookie))
    return ctx.signed_in(progress.cookie, progress.following)


async def submit_login(ctx: PageContext) -> Response:
    """POST /login."""
    call, form = ctx.anonymous(), ctx.form()
    following = cookies.checked(form.get("next", ""))
    account, user = form.get("account", "").strip(), form.get("user", "").strip()
    if form.get("how") == "provider":
        chosen = {"account": account, "next": following, "again": form.get("again", "")}
        return redirect(f"{LOGIN}/providers?{urlencode(chosen)}")
    try:
        progress = await password.with_password(
            ctx.env, call, Browser(ctx.cookie), account, user, form.get("password", "")
        )
    except DaypassError as error:
        problem = await _problem(ctx, error)
        return await _login_page(ctx, call, following, problem=problem, account=account, user=user)
    response = _following(ctx, progress, following)
    return replace(response, headers=(*response.headers, *ctx.site.cookies.remember_account(account)))


async def submit_code(ctx: PageContext) -> Response:
    """POST /login/code."""
    form = ctx.form()
    device = form.get("device", "")
    again = SignInStep(stage=CODE, ticket=form.get("ticket", ""), devices=(device,))
    return await _second_stage(ctx, password.with_code, device, form.get("code", "").strip(), otherwise=again)


async def submit_passkey(ctx: PageContext) -> Response:
    """POST /login/passkey: signs in with a passkey alone."""
    call, form = ctx.anonymous(), ctx.form()
    following = cookies.checked(form.get("next", ""))
    try:
        progress = await step_up.with_passkey(
            ctx.env, call, Browser(ctx.cookie), form.get("ceremony", ""), form.get("response", "")
        )
    except DaypassError as error:
        problem = await _problem(ctx, error, _SHOWN_AGAIN | {Family.PROOF})
        return await _login_page(ctx, call, following, problem=problem)
    return _following(ctx, progress, following)


async def submit_second_passkey(ctx: PageContext) -> Response:
    """POST /login/second-passkey: a passkey after the password."""
    form = ctx.form()
    return await _second_stage(ctx, step_up.with_second_passkey, form.get("ceremony", ""), form.get("response", ""))


async def submit_recovery(ctx: PageContext) -> Response:
    """POST /login/recovery: a recovery code after the password."""
    return await _second_stage(ctx, step_up.with_recovery_code, ctx.form().get("recovery", ""))


async def submit_new_password(ctx: PageContext) -> Response:
    """POST /login/new-password."""
    call, form = ctx.anonymous(), ctx.form()
    following, ticket = cookies.checked(form.get("next", "")), form.get("ticket", "")
    chosen = form.get("password", "")
    again = SignInStep(stage=NEW_PASSWORD, ticket=ticket)
    if chosen != form.get("repeated", ""):
        return _stage_page(ctx, again, following, "The two passwords are different.")
    try:
        progress = await password.with_new_password(ctx.env, call, Browser(ctx.cookie), ticket, chosen)
    except DaypassError as error:
        return _stage_page(ctx, again, following, await _problem(ctx, error))
    return _following(ctx, progress, following)


async def logout(ctx: PageContext) -> Response:
    """POST /logout. Nobody is signed out by a link."""
    ctx.form()
    person = await ctx.person()
    if person is not None:
        call, signed_in = person
        await browser_session.end(ctx.env, call, signed_in.row.session_id)
    return redirect(f"{LOGIN}/signed-out", ctx.site.cookies.clear())


async def signed_out(ctx: PageContext) -> Response:
    """GET /login/signed-out."""
    return ctx.page("signed_out", title="Signed out")


async def account(ctx: PageContext) -> Response:
    """GET /account."""
    person = await ctx.person()
    if person is None:
        return ctx.to_sign_in("/account")
    return await _account_page(ctx, *person)


async def _account_page(ctx: PageContext, call: Call, signed_in: SignedIn) -> Response:
    rows = await browser_session.listed(ctx.env, call)
    consents = await consent.listed(ctx.env, call)
    return ctx.page("account", title="Your account", rows=rows, consents=consents, methods=_methods(signed_in))


def _methods(signed_in: SignedIn) -> str:
    """How a person has signed in, for the person."""
    if signed_in.provider is not None:
        return signed_in.person_id.split(":", 5)[5].partition("/")[2]  # the provider's name and the subject
    session = signed_in.session
    return "passkey" if session.auth_method == PASSKEY else "password and MFA" if session.mfa_at else "password"


async def end(ctx: PageContext) -> Response:
    """POST /account/end: signs one of the person's browsers out."""
    form = ctx.form()
    person = await ctx.person()
    if person is None:
        return ctx.to_sign_in("/account")
    call, signed_in = person
    session_id = form.get("session", "")
    await browser_session.end(ctx.env, call, session_id)
    if session_id == signed_in.row.session_id:
        return redirect(f"{LOGIN}/signed-out", ctx.site.cookies.clear())
    return redirect("/account")


async def withdraw(ctx: PageContext) -> Response:
    """POST /account/withdraw: removes a remembered consent."""
    form = ctx.form()
    person = await ctx.person()
    if person is None:
        return ctx.to_sign_in("/account")
    await consent.withdraw(ctx.env, person[0], form.get("consent", ""))
    return redirect("/account")


async def file(ctx: PageContext) -> Response:
    """GET /static/…"""
    return await render.serve(ctx.request)


# --- Steps -----------------------------------------------------------------------------------------------------------


def _following(ctx: PageContext, progress: SignInStep, following: str) -> Response:
    if progress.cookie:
        return ctx.signed_in(progress.cookie, following)
    return _stage_page(ctx, progress, following)


async def _second_stage(
    ctx: PageContext, sign_in: Callable[..., Awaitable[SignInStep]], *proof: str, otherwise: SignInStep | None = None
) -> Response:
    """Signs in by a proof after the password. After a refusal, the same page again; `otherwise`, or the sign-in page, if its
    ticket is not valid.
    """
    call, form, browser = ctx.anonymous(), ctx.form(), Browser(ctx.cookie)
    following, ticket = cookies.checked(form.get("next", "")), form.get("ticket", "")
    try:
        return _following(ctx, await sign_in(ctx.env, call, browser, ticket, *proof), following)
    except DaypassError as error:
        problem = await _problem(ctx, error)
    try:
        again: SignInStep | None = await step_up.stage(ctx.env, call, browser, ticket)
    except DaypassError as fault:
        if fault.kind.family not in _SHOWN_AGAIN:
            raise
        again = otherwise
    if again is None:
        return await _login_page(ctx, call, following, problem=problem)
    return _stage_page(ctx, again, following, problem)


def _stage_page(ctx: PageContext, progress: SignInStep, following: str, problem: str = "") -> Response:
    values = {"next": following, "ticket": progress.ticket, "problem": problem}
    if progress.stage == CODE:
        device, scripts = (progress.devices or ("",))[0], _SCRIPTS if progress.prompt else ()
        shown = {"devices": progress.devices, "device": device, "prompt": progress.prompt}
        return ctx.page("code", title="Confirm that it is you", scripts=scripts, **shown, **values)
    return ctx.page("new_password", title="New password", **values)


async def _login_page(ctx: PageContext, call: Call, following: str, **values: str) -> Response:
    """The form; with an account, also the buttons of its identity providers."""
    shown: dict[str, Any] = {"problem": "", "reason": "", "account": "", "user": "", "again": "", **values}
    prompt = step_up.ask_at_sign_in(ctx.env, Browser(ctx.cookie), ctx.env.clock.now())
    shown |= {"links": await _links(ctx, call, shown["account"], following, shown["again"]), "prompt": prompt}
    scripts = _SCRIPTS if prompt else ()
    return ctx.page("login", title="Sign in", next=following, person=None, scripts=scripts, **shown)


async def _problem(ctx: PageContext, error: DaypassError, shown_again: frozenset[Family] = _SHOWN_AGAIN) -> str:
    """Records a refusal that is shown above the form again, and returns its text. Raises any other error."""
    if error.kind.family not in shown_again:
        raise error
    return await ctx.refused(error)
