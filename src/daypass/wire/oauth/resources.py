"""Introspection and revocation, for clients, and for callers with SigV4 or an access token of their own; and UserInfo.

Sources: RFC 7662, 2; RFC 9701; RFC 7009, 2; RFC 6750, 2.1; RFC 9449, 7; OpenID Connect Core 1.0, 5.3.
"""

from __future__ import annotations

from typing import Final

import msgspec

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.urls import is_registered
from daypass.operations.oauth.authorization import client_by_id
from daypass.operations.oauth.id_token import client_of_hint, subject_of, subject_of_hint, user_info
from daypass.operations.oauth.inspect import INACTIVE, introspect_token, revoke_token, signed_introspection
from daypass.operations.oauth.refresh_families import revoke_family
from daypass.operations.oauth.refresh_family import is_refresh_token
from daypass.operations.oauth.request import Sender
from daypass.operations.outcome import OWNER
from daypass.operations.sign_in import browser_session
from daypass.ports import Call
from daypass.wire.access_token import SCHEMES, authenticated_by_any, authorization_of, by_access_token
from daypass.wire.http import Response, accepted
from daypass.wire.oauth.client import SIGNED_FOR, client_of
from daypass.wire.oauth.consent import PageQuestion, answered, asked, by_get, form_action, pairs_of, with_parameters
from daypass.wire.oauth.endpoint import EndpointContext, answer, malformed, one, required, text_of
from daypass.wire.oauth.errors import JSON, NO_STORE
from daypass.wire.web.context import Fields, PageContext
from daypass.wire.web.render import redirect

_SIGNED: Final = b"application/token-introspection+jwt"
_TOKENS: Final = 1.0  # that a call costs, relative to an STS request


async def introspection(ctx: EndpointContext) -> Response:
    """POST /oauth2/introspect. A token that the caller may not see is answered like an invalid one. The record says
    which case it was. The media type of RFC 9701 in Accept gets a signed answer.
    """
    call, sender = await _authenticated(ctx, public=False)
    text = required(ctx.form(), "token")
    try:
        content = await introspect_token(ctx.env, call, text, sender)
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED:
            raise
        await ctx.record(error)
        content = INACTIVE
    types = accepted(ctx.request.headers)
    if not types.get(_SIGNED) or types[_SIGNED] < types.get(JSON, 0.0):
        return answer(content)
    audience = sender.client.client.id if sender.client is not None else call.caller.principal_arn
    signed = signed_introspection(ctx.env, content, audience, call.now)
    return Response(200, signed.encode("ascii"), _SIGNED, NO_STORE)


async def revocation(ctx: EndpointContext) -> Response:
    """POST /oauth2/revoke. A token that is not valid is answered like one that has just been revoked (RFC 7009,
    2.2).
    """
    ctx.unacceptable = "unauthorized_client"
    call, sender = await _authenticated(ctx, public=True)
    text = required(ctx.form(), "token")
    if not is_refresh_token(text):
        await revoke_token(ctx.env, call, text, sender)
    elif sender.client is not None:
        await revoke_family(ctx.env, call, text, sender)
    else:
        raise DaypassError(ErrorKind.UNSUPPORTED_TOKEN_TYPE, "A refresh token is revoked by its client.")
    return Response(200, b"", JSON, NO_STORE)


async def userinfo(ctx: EndpointContext) -> Response:
    """GET and POST /oauth2/userinfo, with an access token in the Authorization header or in a form (RFC 6750, 2.1 and 2.2)."""
    ctx.unproven, ctx.resource = "invalid_token", True
    by_header, text = authorization_of(ctx.request)[0] in SCHEMES, ""
    if ctx.request.method == "POST" and ctx.request.body:
        text = one(ctx.form(), "access_token")
    if by_header and text:
        raise malformed("The access token is sent in two ways.")
    if not by_header and not text:
        raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "Send an access token in the Authorization header.")
    call = await by_access_token(ctx.front, ctx.progress, _TOKENS, ctx.certificate_header, text, consuming=True)
    return answer(await user_info(ctx.env, call, ctx.progress.replays))


async def _authenticated(ctx: EndpointContext, *, public: bool) -> tuple[Call, Sender]:
    """The caller or the client. Authentication comes first. `public`: clients that cannot authenticate are served."""
    scheme, _ = authorization_of(ctx.request)
    if scheme in SCHEMES:
        ctx.unproven, ctx.resource = "invalid_token", True
    if scheme in SCHEMES or scheme.startswith("aws4-") or b"X-Amz-" in ctx.request.raw_query:
        progress = ctx.progress
        call = await authenticated_by_any(
            ctx.front, progress, (SIGNED_FOR,), _TOKENS, ctx.certificate_header, consuming=True
        )
        return call, Sender(replays=progress.replays)
    call = ctx.anonymous()
    client = await client_of(ctx, ctx.form())
    if client is None or (client.settings.type == "public" and not public):
        raise DaypassError(ErrorKind.INVALID_CLIENT, "The client must authenticate.")
    return call, Sender(client, replays=ctx.progress.replays)


# --- The end of a sign-in that a client asks for (OpenID Connect RP-Initiated Logout 1.0)


LOGOUT: Final = "/oauth2/logout"
CONFIRM_LOGOUT: Final = "/oauth2/logout/confirm"
SIGN_OUT: Final = "daypass:SignOut"
_SIGNED_OUT: Final = "/login/signed-out"

_read_question = msgspec.json.Decoder(PageQuestion[str]).decode  # where the person goes afterwards


async def ask_logout(ctx: PageContext) -> Response:
    """GET and POST /oauth2/logout. A form is answered with the same request by GET: our cookie comes with no foreign form."""
    ctx.anonymous()
    if ctx.request.method == "POST":
        return redirect(by_get(LOGOUT, pairs_of(ctx.posted())))
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
        ticket=asked(ctx, CONFIRM_LOGOUT, person, following),
        application=name,
        form_action="" if following == _SIGNED_OUT else form_action(following),
    )


async def confirm_logout(ctx: PageContext) -> Response:
    """POST /oauth2/logout/confirm: the person's answer."""
    form = ctx.form()
    call, signed_in, following = await answered(
        ctx, CONFIRM_LOGOUT, _read_question, form.get("ticket", ""), "Go back to the application."
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
