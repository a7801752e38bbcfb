"""The pages on which a person answers a client, and the device grant, whose page is one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.oauth.client import BUILT_IN
from daypass.operations.oauth import authorization, device
from daypass.operations.oauth.authorization import AuthorizationRequest
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.codes import Code
from daypass.operations.oauth.device import DeviceGrant
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.ticket import seal, unseal
from daypass.ports import Call
from daypass.wire.http import Response
from daypass.wire.oauth.client import required_client
from daypass.wire.oauth.endpoint import REPEATABLE, EndpointContext, Form, answer, audiences_of, one, openid_scope_of
from daypass.wire.oauth.errors import read_details
from daypass.wire.web.context import Fields, PageContext

T = TypeVar("T")

_LIFETIME_MS: Final = 600_000
_MAX_ADDRESS: Final = 4_096  # of a request; that of the sign-in page has it as a parameter


class PageQuestion(Struct, Generic[T], frozen=True):
    """A page's question to a person, bound to the browser session."""

    content: T
    session_id: str
    expires_at: int  # ms


def asked(ctx: PageContext, purpose: str, found: tuple[Call, SignedIn], content: T) -> str:
    """The question as a field of the page's form."""
    call, signed_in = found
    return seal(ctx.env, purpose, PageQuestion(content, signed_in.row.session_id, call.now + _LIFETIME_MS))


async def answered(
    ctx: PageContext, purpose: str, read: Callable[[bytes], PageQuestion[T]], unverified: str, again: str
) -> tuple[Call, SignedIn, T]:
    """The person who answers, and what was asked. `again`: what the person may do after a refusal.

    Raises DaypassError(VALIDATION) when another browser session was asked, or this one too long ago.
    """
    person, question = await ctx.person(), unseal(ctx.env, purpose, unverified, read)
    if person is None or question is None or question.session_id != person[1].row.session_id:
        message = f"This page does not belong to the sign-in of this browser. {again}"
        raise DaypassError(ErrorKind.VALIDATION, message)
    if person[0].now >= question.expires_at:
        raise DaypassError(ErrorKind.VALIDATION, f"This page has expired. {again}")
    return *person, question.content


def pairs_of(fields: Fields) -> list[tuple[str, str]]:
    """The fields, one pair for each value."""
    return [(name, value) for name, values in fields.items() for value in values]


def by_get(path: str, pairs: Iterable[tuple[str, str]], instead: str = "") -> str:
    """The address of a request by GET. Raises DaypassError(VALIDATION) when it is too long. `instead`: what the client may do.

    Encoding takes a tenth of a microsecond for each character, and makes none shorter (attack A243).
    """
    fields = list(pairs)
    address = ""
    if sum(map(len, chain.from_iterable(fields))) <= _MAX_ADDRESS:
        address = f"{path}?{urlencode(fields)}"
    if not 0 < len(address) <= _MAX_ADDRESS:
        raise DaypassError(ErrorKind.VALIDATION, f"The request has more than {_MAX_ADDRESS} characters.{instead}")
    return address


def with_parameters(uri: str, parameters: Mapping[str, str]) -> str:
    """An address of a client with more parameters."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"


def form_action(uri: str) -> str:
    """Targets of a page's form, as Content-Security-Policy sources."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


# --- The device grant: the endpoint for devices, and the pages on which a person allows one


GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
START: Final = "/oauth2/device_authorization"
PAGE: Final = "/device"
CHECK: Final = "/device/code"
DECIDE: Final = "/device/decision"
OPERATION: Final = "daypass:AuthorizeDevice"

_read_question = msgspec.json.Decoder(PageQuestion[str]).decode  # the user code


async def start(ctx: EndpointContext) -> Response:
    """POST /oauth2/device_authorization."""
    call, form = ctx.anonymous(), ctx.form(REPEATABLE)
    client = await required_client(ctx, form)
    request = _request(client, form)
    authorization.check(ctx.env, client.settings, request, GRANT)
    await authorization.check_scope(ctx.env, request)
    device_authorization = await device.start(ctx.env, call, client, request, ctx.progress.replays)
    page = ctx.env.oauth.issuer + PAGE
    return answer(
        {
            "device_code": device_authorization.device_code,
            "user_code": device_authorization.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?{urlencode({'user_code': device_authorization.user_code})}",
            "expires_in": device_authorization.expires_in,
            "interval": device_authorization.interval,
        }
    )


def _request(client: AuthenticatedClient, form: Form) -> AuthorizationRequest:
    if "scope" not in form and client.settings.default_scopes:
        form = {**form, "scope": (" ".join(client.settings.default_scopes),)}
    openid, scope = openid_scope_of(form, client.settings.scopes)
    details = read_details(one(form, "role"), one(form, "authorization_details"))
    return AuthorizationRequest(
        client_id=client.client.id,
        redirect_uri="",
        code_challenge="",
        role=details.role,
        details=one(form, "authorization_details"),
        audiences=audiences_of(form),
        scope=scope,
        openid=bool(openid),
        openid_scopes=openid,
    )


async def page(ctx: PageContext) -> Response:
    """GET /device: asks for the code. A code in the address is only filled in: the person still has to compare it."""
    user_code = ctx.query().get("user_code", "")[:16]
    if await ctx.person() is None:
        return ctx.to_sign_in(f"{PAGE}?{urlencode({'user_code': user_code})}" if user_code else PAGE)
    return ctx.page("device", title="Connect a device", user_code=user_code, problem="")


async def check(ctx: PageContext) -> Response:
    """POST /device/code: shows what the device asks for."""
    form = ctx.form()
    person = await ctx.person()
    if person is None:
        return ctx.to_sign_in(PAGE)
    call, signed_in = person
    try:
        grant = await device.find(ctx.env, call, form.get("user_code", ""))
        known = await authorization.client_by_id(ctx.env, grant.content.request.client_id)
        authorization.check_person(known, signed_in)
    except DaypassError as error:
        if error.kind.family not in (Family.ABSENT, Family.DENIED):
            raise
        problem = await ctx.refused(error)
        return ctx.page("device", title="Connect a device", user_code="", problem=problem)
    return ctx.page(
        "device_consent",
        title=f"Connect {known.client.name}",
        ticket=asked(ctx, DECIDE, person, grant.content.user_code),
        client=known.client,
        request=grant.content.request,
        full=known.client.id in BUILT_IN and not grant.content.request.role,
        renewal_seconds=known.settings.renewal_seconds,
        grant=grant.content,
        started=grant.row.created_at,
        same_place=grant.content.source_ip == ctx.request.source_ip,
        audiences=grant.content.request.audiences or known.settings.audiences[:1],
    )


async def decide(ctx: PageContext) -> Response:
    """POST /device/decision: the person's answer."""
    form = ctx.form()
    call, signed_in, user_code = await answered(ctx, DECIDE, _read_question, form.get("ticket", ""), "Start again.")
    grant: Code[DeviceGrant] = await device.find(ctx.env, call, user_code)
    known = await authorization.client_by_id(ctx.env, grant.content.request.client_id)
    authorization.check_person(known, signed_in)
    allow = form.get("decision") == "allow"
    await device.decide(ctx.env, call, grant, signed_in, allow=allow)
    return ctx.page("device_done", title="Device connected" if allow else "Device refused", allowed=allow)
