"""The pages of the sign-in, of signing out, and of the browsers in which a person is signed in."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from daypass.domain.errors import DaypassError, Family
from daypass.domain.session import PASSKEY
from daypass.operations.oauth import consent
from daypass.operations.sign_in import browser_session, password, provider, second_factor
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.password import Browser, Progress
from daypass.operations.sign_in.provider import Arrival
from daypass.operations.sign_in.ticket import CODE, NEW_PASSWORD
from daypass.ports import Call
from daypass.wire.http import Response
from daypass.wire.web import next_path, static
from daypass.wire.web.render import redirect
from daypass.wire.web.visit import LOGIN, Visit

SIGN_IN: Final = "daypass:SignIn"
SIGN_OUT: Final = "daypass:SignOut"
PROVIDER: Final = "/login/provider"
SAML_LOGIN: Final = "/saml/login"
LIST: Final = "daypass:ListBrowserSessions"
_SCRIPTS: Final = ("passkey.js",)
WITHDRAW: Final = "daypass:WithdrawConsent"
_SHOWN_AGAIN: Final = frozenset({Family.DENIED, Family.CONTENT})
"""Refusals after which a person can correct what they typed. They are recorded, then shown above the form."""


async def login(visit: Visit) -> Response:
    """GET /login. `again`: also for a person who is signed in already."""
    query = visit.query()
    following = next_path.checked(query.get("next", ""))
    visit.anonymous()
    if not query.get("again") and await visit.person() is not None:
        return redirect(following)
    again = query.get("again", "")
    return _login_page(visit, following, reason=_REASONS.get(again, ""), again=again if again in _REASONS else "")


_REASONS: Final = {
    "mfa": "The application asks for a sign-in with MFA.",
    "age": "The application asks you to sign in again.",
}


async def providers(visit: Visit) -> Response:
    """GET /login/providers: the identity providers of an account, as links."""
    call, query = visit.anonymous(), visit.query()
    following, account = next_path.checked(query.get("next", "")), query.get("account", "").strip()
    again = query.get("again", "") if query.get("again") in _REASONS else ""
    found = await provider.sources(visit.env, call, account)
    if not found:
        problem = "People of this account do not sign in with an identity provider, or the account does not exist."
        return _login_page(visit, following, problem=problem, account=account, again=again)
    links = []
    for source in found:
        path = PROVIDER if ":oidc-provider/" in source.arn else SAML_LOGIN
        given = {"provider": source.arn, "next": following, "again": again}
        links.append((f"{path}?{urlencode({name: value for name, value in given.items() if value})}", source.name))
    return visit.page("providers", title="Choose how to sign in", links=links, person=None)


async def with_provider(visit: Visit) -> Response:
    """GET /login/provider: takes the browser to an OpenID Connect provider."""
    call, query = visit.anonymous(), visit.query()
    following = next_path.checked(query.get("next", ""))
    where = await provider.begin(
        visit.env, call, visit.cookie, query.get("provider", ""), following, again=query.get("again") in _REASONS
    )
    return redirect(where, *visit.fresh_cookie())


async def callback(visit: Visit) -> Response:
    """GET /login/callback/…: a person comes back from an OpenID Connect provider."""
    call = visit.anonymous()
    path = visit.request.raw_path.decode("latin-1")
    progress = await provider.complete(visit.env, call, Arrival(path, visit.query(), visit.cookie))
    return visit.signed_in(progress.cookie, progress.following)


async def submit_login(visit: Visit) -> Response:
    """POST /login."""
    call, form = visit.anonymous(), visit.form()
    following = next_path.checked(form.get("next", ""))
    account, user = form.get("account", "").strip(), form.get("user", "").strip()
    try:
        progress = await password.with_password(
            visit.env, call, Browser(visit.cookie), account, user, form.get("password", "")
        )
    except DaypassError as error:
        problem = await _problem(visit, error)
        return _login_page(visit, following, problem=problem, account=account, user=user)
    return _following(visit, progress, following)


async def submit_code(visit: Visit) -> Response:
    """POST /login/code."""
    call, form = visit.anonymous(), visit.form()
    following, ticket = next_path.checked(form.get("next", "")), form.get("ticket", "")
    device = form.get("device", "")
    try:
        progress = await password.with_code(
            visit.env, call, Browser(visit.cookie), ticket, device, form.get("code", "").strip()
        )
    except DaypassError as error:
        again = Progress(stage=CODE, ticket=ticket, devices=(device,))
        return await _second_stage_again(visit, call, ticket, following, error, again)
    return _following(visit, progress, following)


async def submit_passkey(visit: Visit) -> Response:
    """POST /login/passkey: signs in with a passkey alone."""
    call, form = visit.anonymous(), visit.form()
    following = next_path.checked(form.get("next", ""))
    try:
        progress = await second_factor.with_passkey(
            visit.env, call, Browser(visit.cookie), form.get("ceremony", ""), form.get("response", "")
        )
    except DaypassError as error:
        return _login_page(visit, following, problem=await _problem(visit, error, _SHOWN_AGAIN | {Family.PROOF}))
    return _following(visit, progress, following)


async def submit_second_passkey(visit: Visit) -> Response:
    """POST /login/second-passkey: a passkey after the password."""
    call, form = visit.anonymous(), visit.form()
    following, ticket = next_path.checked(form.get("next", "")), form.get("ticket", "")
    try:
        progress = await second_factor.with_second_passkey(
            visit.env, call, Browser(visit.cookie), ticket, form.get("ceremony", ""), form.get("response", "")
        )
    except DaypassError as error:
        return await _second_stage_again(visit, call, ticket, following, error)
    return _following(visit, progress, following)


async def submit_recovery(visit: Visit) -> Response:
    """POST /login/recovery: a recovery code after the password."""
    call, form = visit.anonymous(), visit.form()
    following, ticket = next_path.checked(form.get("next", "")), form.get("ticket", "")
    try:
        progress = await second_factor.with_recovery_code(
            visit.env, call, Browser(visit.cookie), ticket, form.get("recovery", "")
        )
    except DaypassError as error:
        return await _second_stage_again(visit, call, ticket, following, error)
    return _following(visit, progress, following)


async def submit_new_password(visit: Visit) -> Response:
    """POST /login/new-password."""
    call, form = visit.anonymous(), visit.form()
    following, ticket = next_path.checked(form.get("next", "")), form.get("ticket", "")
    chosen = form.get("password", "")
    again = Progress(stage=NEW_PASSWORD, ticket=ticket)
    if chosen != form.get("repeated", ""):
        return _stage_page(visit, again, following, "The two passwords are different.")
    try:
        progress = await password.with_new_password(visit.env, call, Browser(visit.cookie), ticket, chosen)
    except DaypassError as error:
        return _stage_page(visit, again, following, await _problem(visit, error))
    return _following(visit, progress, following)


async def logout(visit: Visit) -> Response:
    """POST /logout. Nobody is signed out by a link."""
    visit.form()
    found = await visit.person()
    if found is not None:
        call, signed_in = found
        await browser_session.end(visit.env, call, signed_in.row.session_id)
    return redirect(f"{LOGIN}/signed-out", visit.site.cookies.clear())


async def signed_out(visit: Visit) -> Response:
    """GET /login/signed-out."""
    return visit.page("signed_out", title="Signed out")


async def account(visit: Visit) -> Response:
    """GET /account."""
    found = await visit.person()
    if found is None:
        return visit.to_sign_in("/account")
    return await _account_page(visit, *found)


async def _account_page(visit: Visit, call: Call, signed_in: SignedIn) -> Response:
    rows = await browser_session.listed(visit.env, call)
    consents = await consent.listed(visit.env, call)
    return visit.page("account", title="Your account", rows=rows, consents=consents, methods=_methods(signed_in))


def _methods(signed_in: SignedIn) -> str:
    """How a person has signed in, for the person."""
    if signed_in.provider is not None:
        return signed_in.person_id.split(":", 5)[5].partition("/")[2]  # the provider's name and the subject
    session = signed_in.session
    return "passkey" if session.auth_method == PASSKEY else "password and MFA" if session.mfa_at else "password"


async def end(visit: Visit) -> Response:
    """POST /account/end: signs one of the person's browsers out."""
    form = visit.form()
    found = await visit.person()
    if found is None:
        return visit.to_sign_in("/account")
    call, signed_in = found
    session_id = form.get("session", "")
    await browser_session.end(visit.env, call, session_id)
    if session_id == signed_in.row.session_id:
        return redirect(f"{LOGIN}/signed-out", visit.site.cookies.clear())
    return redirect("/account")


async def withdraw(visit: Visit) -> Response:
    """POST /account/withdraw: removes a remembered consent."""
    form = visit.form()
    found = await visit.person()
    if found is None:
        return visit.to_sign_in("/account")
    await consent.withdraw(visit.env, found[0], form.get("consent", ""))
    return redirect("/account")


async def file(visit: Visit) -> Response:
    """GET /static/…"""
    return await static.serve(visit.request)


# --- Steps -----------------------------------------------------------------------------------------------------------


def _following(visit: Visit, progress: Progress, following: str) -> Response:
    if progress.cookie:
        return visit.signed_in(progress.cookie, following)
    return _stage_page(visit, progress, following)


async def _second_stage_again(
    visit: Visit, call: Call, ticket: str, following: str, error: DaypassError, otherwise: Progress | None = None
) -> Response:
    """The page of the second factor after a refusal; `otherwise`, or the sign-in page, if its ticket is not valid."""
    problem = await _problem(visit, error)
    try:
        again: Progress | None = await second_factor.stage(visit.env, call, Browser(visit.cookie), ticket)
    except DaypassError as fault:
        if fault.kind.family not in _SHOWN_AGAIN:
            raise
        again = otherwise
    if again is None:
        return _login_page(visit, following, problem=problem)
    return _stage_page(visit, again, following, problem)


def _stage_page(visit: Visit, progress: Progress, following: str, problem: str = "") -> Response:
    values = {"next": following, "ticket": progress.ticket, "problem": problem}
    if progress.stage == CODE:
        device, scripts = (progress.devices or ("",))[0], _SCRIPTS if progress.prompt else ()
        shown = {"devices": progress.devices, "device": device, "prompt": progress.prompt}
        return visit.page("code", title="Confirm that it is you", scripts=scripts, **shown, **values)
    return visit.page("new_password", title="New password", **values)


def _login_page(visit: Visit, following: str, **values: str) -> Response:
    visit.env.heavy.prepare()  # a password will be checked soon
    shown = {"problem": "", "reason": "", "account": "", "user": "", "again": "", **values}
    prompt = second_factor.ask_at_sign_in(visit.env, Browser(visit.cookie), visit.env.clock.now())
    scripts = _SCRIPTS if prompt else ()
    return visit.page("login", title="Sign in", next=following, person=None, prompt=prompt, scripts=scripts, **shown)


async def _problem(visit: Visit, error: DaypassError, shown_again: frozenset[Family] = _SHOWN_AGAIN) -> str:
    """Records a refusal that is shown above the form again, and returns its text. Raises any other error."""
    if error.kind.family not in shown_again:
        raise error
    return await visit.refused(error)
