"""The authorization endpoint: from a client's request to a person's consent, and back to the client with a code.

An unknown client or redirect URI ends in an error page. Every other refusal goes to the client's redirect URI, with
`iss` (RFC 9207), so that a client of several servers knows which one answered (attack A68).
Sources: RFC 6749, 4.1; RFC 9126, 4; RFC 9207; RFC 9449, 10; RFC 9470, 5; OpenID Connect Core 1.0, 3.1.2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import BUILT_IN
from daypass.domain.oauth.urls import is_document_id
from daypass.operations.assume.request import requested_role
from daypass.operations.oauth import authorization, consent
from daypass.operations.oauth.access_token import ACR_VALUES, MFA
from daypass.operations.oauth.authorization import AuthorizationRequest, KnownClient
from daypass.operations.oauth.id_token import subject_of, subject_of_hint
from daypass.operations.oauth.request import DpopProof, invalid_proof
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.ticket import seal, unseal
from daypass.ports import Env, Tx
from daypass.wire.http import Response
from daypass.wire.oauth.client import proof_of, required_client
from daypass.wire.oauth.consent import PageQuestion, answered, asked, by_get, form_action, pairs_of, with_parameters
from daypass.wire.oauth.endpoint import (
    REPEATABLE,
    EndpointContext,
    answer,
    audiences_of,
    is_text,
    malformed,
    one,
    openid_scope_of,
    text_of,
)
from daypass.wire.oauth.errors import oauth_error, read_details
from daypass.wire.web.context import Fields, PageContext
from daypass.wire.web.render import redirect

PATH: Final = "/oauth2/authorize"
CONSENT: Final = "/oauth2/authorize/consent"
PUSH: Final = "/oauth2/par"
OPERATION: Final = "daypass:AuthorizeClient"
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_SEEN: Final = "interaction"
_JKT: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Interaction(Struct, frozen=True):
    """A sign-in that a request demands: it must be newer than `after` (ms). `request`: the digest of its parameters."""

    request: str
    after: int


_read_interaction = msgspec.json.Decoder(Interaction).decode


class ConsentContent(Struct, frozen=True):
    """The content of the consent page."""

    request: AuthorizationRequest
    request_uri: str


_read_question = msgspec.json.Decoder(PageQuestion[ConsentContent]).decode


class AuthorizationError(Exception):
    """A refusal for the client: its own error code, or that of a DaypassError."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


async def authorize(ctx: PageContext) -> Response:
    """GET and POST /oauth2/authorize.

    A form is answered with the same request by GET (OpenID Connect Core 1.0, 3.1.2.1), because browsers send our cookie with
    no form of another site.
    """
    call = ctx.anonymous()
    posted = ctx.request.method == "POST"
    fields = ctx.posted(REPEATABLE) if posted else ctx.fields(REPEATABLE)
    address = by_get(PATH, _pairs(fields), " Push it instead (RFC 9126).")
    if posted:
        return redirect(address)
    client_id, request_uri = one(fields, "client_id"), one(fields, "request_uri")
    pushed = await authorization.pushed(ctx.env, call, client_id, request_uri) if request_uri else None
    named = pushed.redirect_uri if pushed is not None else one(fields, "redirect_uri")
    account = ""
    if is_document_id(client_id):  # its document is fetched only for a person whose account accepts it
        person = await ctx.person()
        if person is None:
            return ctx.to_sign_in(address)
        account = person[1].row.account
    known = await authorization.client_for(ctx.env, client_id, named, account)
    redirect_uri = named or known.settings.redirect_uris[0]
    state = pushed.state if pushed is not None else one(fields, "state")
    try:
        request = pushed or await _with_hint(ctx.env, read_request(ctx.env, known, fields), fields)
        await authorization.check_scope(ctx.env, request)
        if pushed is None and known.settings.pushed:
            raise DaypassError(ErrorKind.VALIDATION, "The client must push its authorization requests (RFC 9126).")
        return await _consent(ctx, known, request, request_uri, fields)
    except AuthorizationError as error:
        refusal = DaypassError(ErrorKind.ACCESS_DENIED, error.description, private={"error": error.code})
        return await _refused(ctx, refusal, error.code, redirect_uri, state)
    except DaypassError as error:
        return await _refused(ctx, error, oauth_error(error.kind, "access_denied")[0], redirect_uri, state)


def read_request(env: Env, known: KnownClient, fields: Fields) -> AuthorizationRequest:
    """The request of a client, validated. Raises DaypassError."""
    if one(fields, "request"):
        raise DaypassError(ErrorKind.REQUEST_OBJECT, "Request objects are not supported.")
    if not one(fields, "response_type"):
        raise DaypassError(ErrorKind.MISSING_PARAMETER, "The parameter response_type is missing.")
    if one(fields, "response_type") != "code":
        raise DaypassError(ErrorKind.UNSUPPORTED_RESPONSE_TYPE, "The only response_type here is code.")
    if one(fields, "response_mode") not in ("", "query"):
        raise DaypassError(ErrorKind.VALIDATION, "The only response_mode here is query.")
    if "scope" not in fields and known.settings.default_scopes:
        fields = {**fields, "scope": (" ".join(known.settings.default_scopes),)}
    openid, scope = openid_scope_of(fields, known.settings.scopes)
    redirect_uri = one(fields, "redirect_uri")
    if openid and not redirect_uri:  # OpenID Connect Core 1.0, 3.1.2.1
        raise DaypassError(ErrorKind.MISSING_PARAMETER, "The parameter redirect_uri is missing.")
    details = read_details(one(fields, "role"), one(fields, "authorization_details"))
    request = AuthorizationRequest(
        client_id=known.client.id,
        redirect_uri=redirect_uri or known.settings.redirect_uris[0],
        names_redirect_uri=bool(redirect_uri),
        code_challenge=one(fields, "code_challenge"),
        state=text_of(fields, "state"),
        role=details.role,
        details=one(fields, "authorization_details"),
        audiences=audiences_of(fields),
        scope=scope,
        openid=bool(openid),
        openid_scopes=openid,
        nonce=text_of(fields, "nonce"),
        prompt=_prompt(fields),
        max_age=_max_age(fields),
        mfa=_mfa(fields),
        dpop_jkt=_jkt(fields),
    )
    authorization.check(env, known.settings, request, authorization.GRANT)
    authorization.check_challenge(known.settings, request, one(fields, "code_challenge_method"))
    if (
        request.role
        and is_document_id(known.client.id)
        and requested_role(request.role).account != known.client.account
    ):
        raise DaypassError(ErrorKind.INVALID_AUTHORIZATION_DETAILS, "The client may ask for roles of its account only.")
    return request


async def _with_hint(env: Env, request: AuthorizationRequest, fields: Fields) -> AuthorizationRequest:
    """The request with the person at whom `id_token_hint` hints, if it has one. Raises DaypassError."""
    hint = one(fields, "id_token_hint")
    return replace(request, subject=await subject_of_hint(env, request.client_id, hint)) if hint else request


def _with_key(request: AuthorizationRequest, proof: DpopProof | None) -> AuthorizationRequest:
    """The request, for the key of its DPoP proof if it has one (RFC 9449, 10.1). Raises DaypassError(INVALID_DPOP_PROOF)."""
    if proof is None:
        return request
    if request.dpop_jkt not in ("", proof.binding.thumbprint):
        raise invalid_proof("its key is not that of dpop_jkt")
    return replace(request, dpop_jkt=proof.binding.thumbprint)


async def push(ctx: EndpointContext) -> Response:
    """POST /oauth2/par: a request that a client makes itself, so that no browser can change it (RFC 9126)."""
    call, form = ctx.anonymous(), ctx.form(REPEATABLE)
    client = await required_client(ctx, form)
    if "request_uri" in form:
        raise malformed("request_uri cannot be pushed.")
    known = await authorization.client_for(ctx.env, client.client.id, one(form, "redirect_uri"))
    request = await _with_hint(ctx.env, read_request(ctx.env, known, form), form)
    await authorization.check_scope(ctx.env, request)
    request = _with_key(request, await proof_of(ctx, client))
    uri = await authorization.push(ctx.env, call, client, request, ctx.progress.replays)
    pushed = {"request_uri": uri, "expires_in": authorization.PUSHED_MS // 1000}
    return replace(answer(pushed), status=201)


async def decide(ctx: PageContext) -> Response:
    """POST /oauth2/authorize/consent: the person's answer."""
    form = ctx.form()
    call, signed_in, asked_for = await answered(
        ctx, CONSENT, _read_question, form.get("ticket", ""), "Go back to the application."
    )
    request = asked_for.request
    known = await authorization.client_for(ctx.env, request.client_id, request.redirect_uri, signed_in.row.account)
    authorization.check_person(known, signed_in)
    if form.get("decision") != "allow":
        refusal = DaypassError(
            ErrorKind.ACCESS_DENIED, "The person has refused.", private={"client_id": known.client.id}
        )
        return await _refused(ctx, refusal, "access_denied", request.redirect_uri, request.state)

    remember = bool(form.get("remember")) and consent.may_be_remembered(ctx.env, known, request)

    def also(tx: Tx) -> None:
        if remember:
            consent.store(tx, consent.remembered(ctx.env, known, request, signed_in, call.now))

    given: authorization.Consented = "given and remembered" if remember else "given"
    code = await authorization.grant_code(
        ctx.env, call, known, request, signed_in, asked_for.request_uri, consent=given, also=also
    )
    return _answer(ctx, request.redirect_uri, {"code": code, "state": request.state})


# --- The person ------------------------------------------------------------------------------------------------------


async def _consent(
    ctx: PageContext, known: KnownClient, request: AuthorizationRequest, request_uri: str, fields: Fields
) -> Response:
    person = await ctx.person()
    silent = "none" in request.prompt
    if person is None:
        if silent:
            raise AuthorizationError("login_required", "Nobody is signed in.")
        return ctx.to_sign_in(_address(ctx, request, fields))
    call, signed_in = person
    again = _again(ctx, request, signed_in, fields)
    if again:
        if silent:
            raise AuthorizationError("login_required", "The person must sign in again.")
        return ctx.to_sign_in(_address(ctx, request, fields), again=again)
    if request.subject and request.subject != subject_of(signed_in.session):  # OpenID Connect Core 1.0, 3.1.2.1
        raise AuthorizationError("login_required", "Another person is signed in than the one of id_token_hint.")
    authorization.check_person(known, signed_in)
    if await consent.is_remembered(ctx.env, known, request, signed_in):
        code = await authorization.grant_code(
            ctx.env, call, known, request, signed_in, request_uri, consent="remembered"
        )
        return _answer(ctx, request.redirect_uri, {"code": code, "state": request.state})
    if silent:
        raise AuthorizationError("consent_required", "The person must consent.")
    return ctx.page(
        "consent",
        title=f"Sign in to {known.client.name}",
        form_action=form_action(request.redirect_uri),
        ticket=asked(ctx, CONSENT, person, ConsentContent(request, request_uri)),
        client=known.client,
        request=request,
        full=known.client.id in BUILT_IN and not request.role,
        renewal_seconds=known.settings.renewal_seconds,
        goes_to=_host(request.redirect_uri),
        audiences=request.audiences or known.settings.audiences[:1],
        remember_seconds=ctx.env.limits.consent_ms // 1_000
        if consent.may_be_remembered(ctx.env, known, request)
        else 0,
    )


def _again(ctx: PageContext, request: AuthorizationRequest, signed_in: SignedIn, fields: Fields) -> str:
    """Why the person must sign in again: "mfa" or "age"; "" when the sign-in is enough.

    Raises AuthorizationError when a sign-in that was made for this request is not enough (RFC 9470, 5).
    """
    seen = unseal(ctx.env, _SEEN, one(fields, _SEEN), _read_interaction)
    at = signed_in.authenticated_at
    done = seen is not None and seen.request == _digest(request) and at >= seen.after
    if request.mfa and not signed_in.mfa:
        if done:
            raise AuthorizationError("unmet_authentication_requirements", "The person has no MFA device.")
        return "mfa"
    too_old = request.max_age >= 0 and ctx.env.clock.now() - at > request.max_age * 1000
    if (too_old or {"login", "select_account"} & request.prompt) and not done:
        return "age"
    return ""


def _address(ctx: PageContext, request: AuthorizationRequest, fields: Fields) -> str:
    """The address to return to after the sign-in, with proof of when the request came."""
    pairs = _pairs(fields)
    ticket = seal(ctx.env, _SEEN, Interaction(_digest(request), ctx.env.clock.now()))
    return f"{PATH}?{urlencode([*pairs, (_SEEN, ticket)])}"


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs_of(fields) if name != _SEEN]


def _digest(request: AuthorizationRequest) -> str:
    return hashlib.sha256(
        repr((request.client_id, request.code_challenge, request.nonce, request.state)).encode()
    ).hexdigest()


# --- Answers to the client -------------------------------------------------------------------------------------------


def _answer(ctx: PageContext, redirect_uri: str, parameters: Mapping[str, str]) -> Response:
    given = {name: value for name, value in parameters.items() if value} | {"iss": ctx.env.oauth.issuer}
    return redirect(with_parameters(redirect_uri, given))


async def _refused(ctx: PageContext, error: DaypassError, code: str, redirect_uri: str, state: str) -> Response:
    """Records a refusal and sends it to the client. `redirect_uri` is one of the client's own."""
    description = await ctx.refused(error)
    state = state if is_text(state) else ""
    return _answer(ctx, redirect_uri, {"error": code, "error_description": description, "state": state})


def _host(redirect_uri: str) -> str:
    """The person's destination, in words."""
    parts = urlsplit(redirect_uri)
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return "an application on this computer"
    return parts.netloc or f"an application for {parts.scheme}:"


# --- Parameters ------------------------------------------------------------------------------------------------------


def _prompt(fields: Fields) -> frozenset[str]:
    values = frozenset(one(fields, "prompt").split())
    if not values <= _PROMPTS or ("none" in values and len(values) > 1):
        raise DaypassError(
            ErrorKind.VALIDATION, f"prompt has values of {', '.join(sorted(_PROMPTS))}; none stands alone."
        )
    return values


def _max_age(fields: Fields) -> int:
    text = one(fields, "max_age")
    if not text:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise DaypassError(ErrorKind.VALIDATION, "max_age is a number of seconds.")
    return int(text)


def _mfa(fields: Fields) -> bool:
    """Whether the first supported value asks for MFA: values are in order of preference."""
    supported: list[Any] = [value for value in one(fields, "acr_values").split() if value in ACR_VALUES]
    return bool(supported) and supported[0] == MFA


def _jkt(fields: Fields) -> str:
    text = one(fields, "dpop_jkt")
    if text and not _JKT.fullmatch(text):
        raise DaypassError(ErrorKind.VALIDATION, "dpop_jkt is a thumbprint of 43 characters (RFC 9449, 10).")
    return text
