"""Logins by browser, below `/saml/`: our metadata, the address for responses, the choice of a role, and the code for
the command line.

Pages run no script and are never cached. The cookies are the CSRF token of a choice, and that of `wire.web`. The Host header is never used;
addresses are the configured ones (attack A88).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import iso_time
from daypass.operations.assume import saml_sign_in
from daypass.operations.assume.forms import AWS_FORM, AwsCredentials
from daypass.operations.assume.proofs import RequestedProvider, provider_of, requested_provider
from daypass.operations.assume.saml_sign_in import GrantedSession
from daypass.operations.assume.saml_ticket import CommandLine
from daypass.operations.sign_in import saml as browser_sign_in
from daypass.ports import Call
from daypass.wire import saml_pages
from daypass.wire.content import pairs_of, unique
from daypass.wire.front import ErrorFormat, Front, RecordedRefusal, RequestProgress
from daypass.wire.http import Handler, Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, JsonErrors
from daypass.wire.routing import GET, POST, Route
from daypass.wire.web import cookies
from daypass.wire.web.cookies import Cookies
from daypass.wire.web.render import redirect

SIGN_IN: Final = "daypass:SignInWithSAML"
ASSUME: Final = "sts:AssumeRoleWithSAML"
_MAX_FIELDS: Final = 16
_PROVIDER_PATH = re.compile(r"([0-9]{12})/([A-Za-z0-9._-]{1,128})")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_PORT = re.compile(r"[1-9][0-9]{3,4}")

Page: TypeAlias = "Callable[[_PageContext], Awaitable[Response]]"


@dataclass(frozen=True, slots=True)
class _PageContext:
    """One request to these pages."""

    progress: RequestProgress
    call: Call

    @property
    def request(self) -> Request:
        return self.progress.request

    def form(self) -> dict[str, str]:
        return self._pairs(self.request.body)

    def parameters(self) -> dict[str, str]:
        return self._pairs(self.request.raw_query)

    def provider(self) -> RequestedProvider | None:
        """The provider with this address: `/saml/acs/ACCOUNT/NAME`. Raises DaypassError(NOT_FOUND) for another path."""
        rest = unquote(self.request.raw_path.decode("latin-1")).removeprefix("/saml/").partition("/")[2]
        if not rest:
            return None
        match = _PROVIDER_PATH.fullmatch(rest)
        if match is None:
            raise _no_page()
        return requested_provider(f"arn:aws:iam::{match[1]}:saml-provider/{match[2]}")

    def _pairs(self, data: bytes) -> dict[str, str]:
        pairs = pairs_of(data, _MAX_FIELDS)
        self.progress.detail = {"names": [name[:64] for name, _ in pairs]}
        return unique(pairs)


class SamlPages:
    """The pages. Each public attribute is a handler.

    Args:
        public_url: the installation's address for browsers; "": the pages are off.
        region: what credentials are shown with.
    """

    def __init__(self, front: Front, public_url: str, region: str = "us-east-1") -> None:
        self._front = front
        self._env = front.env
        self._base = public_url.rstrip("/")
        self._secure = self._base.startswith("https:")
        self._region = region
        self._cookies = Cookies(self._base)
        self.metadata = self._handler(self._metadata, "")
        self.style = self._handler(self._style, "")
        self.login = self._handler(self._login, SIGN_IN)
        self.acs = self._handler(self._acs, SIGN_IN)
        self.choose = self._handler(self._choose, ASSUME)
        self.token = self._handler(self._token, ASSUME)
        self.other = self._handler(self._other, "")

    def _handler(self, page: Page, operation: str) -> Handler:
        errors = TOKEN_ERRORS if page == self._token else PAGE_ERRORS

        async def handler(request: Request) -> Response:
            progress = RequestProgress(request, operation, detail={"names": []})
            try:
                if not self._base:
                    raise DaypassError(
                        ErrorKind.NOT_FOUND, "SAML login by browser is off: server.public_url is not set."
                    )
                return await page(_PageContext(progress, self._front.anonymous(progress)))
            except DaypassError as error:
                return await self._front.refuse(progress, error, errors)

        return handler

    # --- the pages

    async def _metadata(self, ctx: _PageContext) -> Response:
        """Our metadata. If the path names a provider's account and name, it contains that provider's address and keys.

        For an unknown provider it is the same as for one without keys.
        """
        wanted = ctx.provider()
        provider = await provider_of(self._env, wanted) if wanted else None
        body = await self._env.saml.metadata(provider)
        return Response(200, body, b"application/samlmetadata+xml", (NO_SNIFF,))

    async def _style(self, _: _PageContext) -> Response:
        return Response(200, saml_pages.STYLE.encode(), b"text/css; charset=utf-8", (NO_SNIFF,))

    async def _login(self, ctx: _PageContext) -> Response:
        """Redirects a browser to the identity provider: for a waiting command line, or to sign in to Daypass itself."""
        asked = ctx.parameters()
        if "port" not in asked and "challenge" not in asked:
            return await self._begin(ctx, asked)
        port, challenge = asked.get("port", ""), asked.get("challenge", "")
        if not _PORT.fullmatch(port) or not 1024 <= int(port) <= 65_535 or not _CHALLENGE.fullmatch(challenge):
            raise DaypassError(ErrorKind.VALIDATION, "A login is begun by: daypass login --saml")
        line = CommandLine(int(port), base64.urlsafe_b64decode(f"{challenge}="))
        where = await saml_sign_in.begin(self._env, ctx.call, asked.get("provider", ""), line)
        return Response(303, b"", b"text/plain", (*NO_STORE, (b"location", where.encode("ascii", "replace"))))

    async def _begin(self, ctx: _PageContext, asked: dict[str, str]) -> Response:
        if not self._cookies.allowed:
            raise DaypassError(
                ErrorKind.NOT_FOUND, "Browsers sign in here only if server.public_url begins with https://."
            )
        own = self._cookies.value(ctx.request.headers)
        cookie = own or self._env.ids.secret()
        following, again = cookies.checked(asked.get("next", "")), bool(asked.get("again"))
        provider = asked.get("provider", "")
        where = await browser_sign_in.begin(self._env, ctx.call, cookie, provider, following, again=again)
        return redirect(where, *(() if own else (self._cookies.set(cookie),)))

    async def _acs(self, ctx: _PageContext) -> Response:
        form = ctx.form()
        choice = await saml_sign_in.accept(
            self._env, ctx.call, form.get("SAMLResponse", ""), form.get("RelayState", ""), ctx.provider()
        )
        line = choice.command_line
        token = self._env.ids.secret()
        page = html(saml_pages.choice_page(choice, token), allowed=f" http://127.0.0.1:{line.port}" if line else "")
        return replace(page, headers=(*page.headers, saml_pages.cookie(token, secure=self._secure)))

    async def _choose(self, ctx: _PageContext) -> Response:
        self._check_origin(ctx)
        form = ctx.form()
        saml_pages.check(ctx.request.headers, form.get(saml_pages.FIELD, ""), secure=self._secure)
        ticket, choice = form.get("ticket", ""), form.get("choice", "")
        if form.get("for") == saml_pages.BROWSER:
            own = self._cookies.value(ctx.request.headers)
            signed_in = await browser_sign_in.choose(self._env, ctx.call, own, ticket, choice)
            return redirect(signed_in.following, self._cookies.set(signed_in.cookie))
        granted = await saml_sign_in.choose(self._env, ctx.call, ticket, choice, AWS_FORM)
        if granted.redirect:
            location = (b"location", granted.redirect.encode("ascii"))
            return Response(303, b"", b"text/plain", (*NO_STORE, location), SIGN_IN)  # no session yet
        return html(saml_pages.credentials_page(granted, self._base, self._region))

    async def _token(self, ctx: _PageContext) -> Response:
        form = ctx.form()
        granted = await saml_sign_in.redeem(
            self._env, ctx.call, form.get("code", ""), form.get("code_verifier", ""), AWS_FORM
        )
        return Response(200, json.dumps(_credentials_json(granted)).encode("ascii"), b"application/json", NO_STORE)

    async def _other(self, _: _PageContext) -> Response:
        raise _no_page()

    def _check_origin(self, ctx: _PageContext) -> None:
        """Refuses a choice from another site's page, because browsers send the origin of a form."""
        origin = dict(ctx.request.headers).get(b"origin", b"").decode("latin-1")
        ours = urlsplit(self._base)
        if origin and origin != f"{ours.scheme}://{ours.netloc}":
            raise DaypassError(ErrorKind.ACCESS_DENIED, "This choice was not made on our own page.")


def _no_page() -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, "This page does not exist.")


def _credentials_json(granted: GrantedSession[AwsCredentials]) -> dict[str, Any]:
    """As `credential_process` has it, and the role."""
    assert granted.issued is not None
    credentials = granted.issued.credential
    return {
        "Version": 1,
        "RoleArn": granted.role,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret,
        "SessionToken": credentials.token,
        "Expiration": iso_time(granted.issued.session.expires_at // 1000),
    }


# --- ErrorKind to the pages of a login by browser: code and status


NO_SNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NO_STORE: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    NO_SNIFF,
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)
_OTHER: Final = ("InvalidRequest", 400)


_EXCEPTIONS: Final[Mapping[ErrorKind, tuple[str, int]]] = {
    ErrorKind.UNKNOWN_OPERATION: ("NotFound", 404),
    ErrorKind.NOT_FOUND: ("NotFound", 404),
    ErrorKind.MISSING_ACTION: _OTHER,
    ErrorKind.UNSUPPORTED_OPERATION: _OTHER,
    ErrorKind.INVALID_INPUT: _OTHER,
    ErrorKind.REQUEST_TOO_LARGE: ("RequestEntityTooLarge", 413),
    ErrorKind.HEADERS_TOO_LARGE: ("RequestHeaderSectionTooLarge", 431),
    ErrorKind.PACKED_POLICY_TOO_LARGE: ("PackedPolicyTooLarge", 400),
    ErrorKind.EXPIRED_IDENTITY_TOKEN: ("ExpiredToken", 400),
    ErrorKind.IDP_REJECTED_CLAIM: ("IDPRejectedClaim", 403),
}


def wire_error(kind: ErrorKind) -> tuple[str, int]:
    """Code and HTTP status. Kinds that cannot occur in a sign-in share one case."""
    return _EXCEPTIONS.get(kind) or _of_family(kind.family)


def _of_family(family: Family) -> tuple[str, int]:
    match family:
        case Family.REQUEST:
            return "ValidationError", 400
        case Family.PROOF:
            return "InvalidIdentityToken", 400
        case Family.DENIED:
            return "AccessDenied", 403
        case Family.THROTTLED:
            return "Throttling", 429
        case Family.UNAVAILABLE:
            return "ServiceUnavailable", 503
        case Family.CONTENT | Family.CREDENTIALS | Family.ABSENT | Family.CONFLICT | Family.UPSTREAM:
            return _OTHER
        case _:
            assert_never(family)


def html(body: bytes, *, status: int = 200, allowed: str = "") -> Response:
    """A page. `allowed`: the additional origin to which a form may redirect."""
    policy = (
        f"default-src 'none'; style-src 'self'; form-action 'self'{allowed}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = (*NO_STORE, (b"content-security-policy", policy.encode("ascii")))
    return Response(status, body, b"text/html; charset=utf-8", headers)


class SamlPageErrors:
    """`front.ErrorFormat` for browsers."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        code, status = wire_error(refusal.error.kind)
        page = html(
            saml_pages.error_page(code, refusal.error.public, request.request_id, refusal.encoded), status=status
        )
        return replace(page, operation=refusal.operation, code=code)

    def broken(self, request: Request) -> Response:
        page = html(saml_pages.error_page(INTERNAL_CODE, INTERNAL, request.request_id, ""), status=500)
        return replace(page, code=INTERNAL_CODE)


PAGE_ERRORS: Final[ErrorFormat] = SamlPageErrors()
TOKEN_ERRORS: Final[ErrorFormat] = JsonErrors(wire_error, NO_STORE)
"""For the command line, which exchanges a code."""


# --- Routes


def saml_routes(front: Front, public_url: str, region: str = "us-east-1") -> tuple[Route, ...]:
    """Every path with its handler; see SamlPages."""
    saml = SamlPages(front, public_url, region)
    metadata, acs = "Metadata of the service provider", "Takes a response of an identity provider"
    return (
        Route("/saml/metadata", saml.metadata, metadata, GET, PAGE_ERRORS),
        Route("/saml/metadata/", saml.metadata, f"{metadata}, of one provider", GET, PAGE_ERRORS),
        Route(
            "/saml/login", saml.login, "Begins a login: of a browser, or for a command line", GET, PAGE_ERRORS, SIGN_IN
        ),
        Route("/saml/acs", saml.acs, acs, POST, PAGE_ERRORS, SIGN_IN),
        Route("/saml/acs/", saml.acs, f"{acs}: the own address of one provider", POST, PAGE_ERRORS, SIGN_IN),
        Route("/saml/choose", saml.choose, "Assumes the role that was chosen", POST, PAGE_ERRORS, ASSUME),
        Route("/saml/token", saml.token, "Exchanges the code of a command line", POST, TOKEN_ERRORS, ASSUME),
        Route("/saml/style.css", saml.style, "The style sheet of the pages", GET, PAGE_ERRORS),
        Route("/saml/", saml.other, "Every other page: not found", frozenset(), PAGE_ERRORS),
    )
