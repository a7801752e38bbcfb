"""The end of a sign-in that a client asks for (OpenID Connect RP-Initiated Logout 1.0).

Nobody is signed out by a link: the person confirms it on a page of ours. They return only to an address that the client has
registered. The refusals end in an error page.
"""

from __future__ import annotations

from typing import Final

import msgspec

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.redirects import is_registered
from daypass.operations.oauth.authorization import client_by_id
from daypass.operations.oauth.id_token import client_of_hint, subject_of, subject_of_hint
from daypass.operations.outcome import OWNER
from daypass.operations.sign_in import browser_session
from daypass.wire.http import Response
from daypass.wire.oauth.consent import Question, answered, asked, by_get, form_action, pairs_of, with_parameters
from daypass.wire.oauth.endpoint import one, text_of
from daypass.wire.web.context import Fields, PageContext
from daypass.wire.web.render import redirect

PATH: Final = "/oauth2/logout"
CONFIRM: Final = "/oauth2/logout/confirm"
OPERATION: Final = "daypass:SignOut"
_SIGNED_OUT: Final = "/login/signed-out"

_read_question = msgspec.json.Decoder(Question[str]).decode  # where the person goes afterwards


async def ask(ctx: PageContext) -> Response:
    """GET and POST /oauth2/logout. A form is answered with the same request by GET: our cookie comes with no foreign form."""
    ctx.anonymous()
    if ctx.request.method == "POST":
        return redirect(by_get(PATH, pairs_of(ctx.posted())))
    fields = ctx.fields()
    hint = one(fields, "id_token_hint")
    client_id = one(fields, "client_id") or (client_of_hint(ctx.env, hint) if hint else "")
    subject = await subject_of_hint(ctx.env, client_id, hint) if hint else ""
    name, following = await _following(ctx, client_id, fields)
    person = await ctx.person()
    if person is None:
        return redirect(following)
    if subject and subject != subject_of(person[1].session):
        raise DaypassError(ErrorKind.VALIDATION, "Another person is signed in than the one of id_token_hint.")
    return ctx.page(
        "logout",
        title="Sign out",
        ticket=asked(ctx, CONFIRM, person, following),
        application=name,
        form_action="" if following == _SIGNED_OUT else form_action(following),
    )


async def confirm(ctx: PageContext) -> Response:
    """POST /oauth2/logout/confirm: the person's answer."""
    form = ctx.form()
    call, signed_in, following = await answered(
        ctx, CONFIRM, _read_question, form.get("ticket", ""), "Go back to the application."
    )
    await browser_session.end(ctx.env, call, signed_in.row.session_id)
    return redirect(following, ctx.site.cookies.clear())


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
    return known.client.name, with_parameters(uri, {"state": state}) if state else uri
