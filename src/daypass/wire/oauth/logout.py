"""The end of a sign-in that a client asks for (OpenID Connect RP-Initiated Logout 1.0).

Nobody is signed out by a link: the person confirms it on a page of ours. They return only to an address that the client has
registered. The refusals end in an error page.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.redirects import is_registered
from daypass.operations.oauth.authorization import client_by_id
from daypass.operations.oauth.id_token import client_of_hint, subject_of, subject_of_hint
from daypass.operations.outcome import OWNER
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.ticket import seal, unseal
from daypass.wire.http import Response
from daypass.wire.oauth.authorize import form_action, text_of
from daypass.wire.oauth.parameters import one
from daypass.wire.web.context import Fields, PageContext
from daypass.wire.web.render import redirect

PATH: Final = "/oauth2/logout"
CONFIRM: Final = "/oauth2/logout/confirm"
OPERATION: Final = "daypass:SignOut"
_SIGNED_OUT: Final = "/login/signed-out"
_LIFETIME_MS: Final = 600_000


class LogoutTicket(Struct, frozen=True):
    """What the page shows, for the browser session that it was shown to. `following`: where the person goes afterwards."""

    following: str
    session_id: str
    expires_at: int


_read_ticket = msgspec.json.Decoder(LogoutTicket).decode


async def ask(ctx: PageContext) -> Response:
    """GET and POST /oauth2/logout. A form is answered with the same request by GET: our cookie comes with no foreign form."""
    ctx.anonymous()
    if ctx.request.method == "POST":
        return redirect(
            f"{PATH}?{urlencode([(name, each) for name, values in ctx.posted().items() for each in values])}"
        )
    fields = ctx.fields()
    hint = one(fields, "id_token_hint")
    client_id = one(fields, "client_id") or (await client_of_hint(ctx.env, hint) if hint else "")
    subject = await subject_of_hint(ctx.env, client_id, hint) if hint else ""
    name, following = await _following(ctx, client_id, fields)
    found = await ctx.person()
    if found is None:
        return redirect(following)
    call, signed_in = found
    if subject and subject != subject_of(signed_in.session):
        raise DaypassError(ErrorKind.VALIDATION, "Another person is signed in than the one of id_token_hint.")
    ticket = LogoutTicket(following, signed_in.row.session_id, call.now + _LIFETIME_MS)
    values = {"ticket": seal(ctx.env, CONFIRM, ticket), "application": name, "form_action": ""}
    if not following.startswith("/"):
        values["form_action"] = form_action(following)
    return ctx.page("logout", title="Sign out", **values)


async def confirm(ctx: PageContext) -> Response:
    """POST /oauth2/logout/confirm: the person's answer."""
    form = ctx.form()
    found, ticket = await ctx.person(), unseal(ctx.env, CONFIRM, form.get("ticket", ""), _read_ticket)
    if found is None or ticket is None or ticket.session_id != found[1].row.session_id:
        raise DaypassError(ErrorKind.VALIDATION, "This page does not belong to the sign-in of this browser.")
    call, signed_in = found
    if call.now >= ticket.expires_at:
        raise DaypassError(ErrorKind.VALIDATION, "This page has expired. Go back to the application.")
    await browser_session.end(ctx.env, call, signed_in.row.session_id)
    return redirect(ticket.following, ctx.site.cookies.clear())


async def _following(ctx: PageContext, client_id: str, fields: Fields) -> tuple[str, str]:
    """The client's name, and where the person goes afterwards. Raises DaypassError(VALIDATION)."""
    uri, state = one(fields, "post_logout_redirect_uri"), text_of(fields, "state")
    if not client_id:
        if uri:
            message = "post_logout_redirect_uri needs client_id or id_token_hint."
            raise DaypassError(ErrorKind.VALIDATION, message)
        return "", _SIGNED_OUT
    known = await client_by_id(ctx.env, client_id)
    if not uri:
        return known.client.name, _SIGNED_OUT
    if not is_registered(uri, known.settings.post_logout_redirect_uris):
        message = "The post_logout_redirect_uri is not registered for this application."
        private = {OWNER: known.client.account, "client_id": client_id, "unverified_redirect_uri": uri[:256]}
        raise DaypassError(ErrorKind.VALIDATION, message, private=private)
    joint = "&" if "?" in uri else "?"
    return known.client.name, f"{uri}{joint}{urlencode({'state': state})}" if state else uri
