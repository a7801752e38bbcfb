"""Logins by browser, below `/saml/`: our metadata, the address for responses, the choice of a role, and the code for
the command line.

Pages run no script and are never cached. The cookies are that of a choice, and that of `wire.web`. The Host header is never
used; addresses are the configured ones (attack A88).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import iso_time
from daypass.operations.assume import saml_sign_in
from daypass.operations.assume.forms import AWS_FORM, AwsCredentials
from daypass.operations.assume.proofs import RequestedProvider, provider_of, requested_provider
from daypass.operations.assume.saml_sign_in import Choice, GrantedSession
from daypass.operations.assume.saml_ticket import CommandLine
from daypass.operations.sign_in import saml as browser_sign_in
from daypass.ports import Call
from daypass.wire.body import environment, texts
from daypass.wire.content import pairs_of, unique
from daypass.wire.front import ErrorFormat, Front, RecordedRefusal, RequestProgress
from daypass.wire.http import Handler, Header, Request, Response
from daypass.wire.json_errors import JsonErrors
from daypass.wire.routing import GET, POST, Route
from daypass.wire.web import cookies
from daypass.wire.web.cookies import Cookies
from daypass.wire.web.render import HEADERS, PageErrors, page, redirect

SIGN_IN: Final = "daypass:SignInWithSAML"
ASSUME: Final = "sts:AssumeRoleWithSAML"
_MAX_FIELDS: Final = 16
_PROVIDER_PATH = re.compile(r"([0-9]{12})/([A-Za-z0-9._-]{1,128})")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_PORT = re.compile(r"[1-9][0-9]{3,4}")
_BROWSER: Final = "browser"
"""The field `for` of a choice that signs the browser in."""

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
        self._cookie = "__Host-daypass-saml" if self._secure else "daypass-saml"
        self.metadata = self._handler(self._metadata, "")
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
        return redirect(where)

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
        return self._choice_page(choice, self._env.ids.secret(), cookies.theme(ctx.request.headers))

    def _choice_page(self, choice: Choice, cookie: str, theme: str) -> Response:
        """The roles of a response. `cookie`: that its form needs. It is valid as long as the choice."""
        line = choice.command_line
        text = f"{self._cookie}={cookie}; Path=/; Max-Age=300; HttpOnly; SameSite=Strict{'; Secure' if self._secure else ''}"
        arns = (role.removeprefix("arn:aws:iam::").partition(":role/") for role, _ in choice.pairs)
        return page(
            "saml_choice",
            (b"set-cookie", text.encode("ascii")),
            form_action=f"http://127.0.0.1:{line.port}" if line else "",
            theme=theme,
            title="Choose a role",
            choice=choice,
            roles=[(account, name) for account, _, name in arns],
            kept={
                "ticket": choice.ticket,
                cookies.FIELD: cookies.token(cookie),
                "for": _BROWSER if choice.browser is not None else "",
            },
        )

    async def _choose(self, ctx: _PageContext) -> Response:
        form, headers = ctx.form(), ctx.request.headers
        cookie = cookies.only_value(headers, self._cookie)
        cookies.check(headers, self._base, cookie, form.get(cookies.FIELD, ""))
        ticket, choice = form.get("ticket", ""), form.get("choice", "")
        if form.get("for") == _BROWSER:
            own = self._cookies.value(headers)
            signed_in = await browser_sign_in.choose(self._env, ctx.call, own, ticket, choice)
            return redirect(signed_in.following, self._cookies.set(signed_in.cookie))
        granted = await saml_sign_in.choose(self._env, ctx.call, ticket, choice, AWS_FORM)
        if granted.redirect:
            return replace(redirect(granted.redirect), operation=SIGN_IN)  # no session yet
        assert granted.issued is not None
        return page(
            "saml_credentials",
            theme=cookies.theme(headers),
            title="Your credentials",
            role=granted.role,
            expires_at=granted.issued.session.expires_at,
            formats=texts(environment(granted.issued, self._base, self._region)),
        )

    async def _token(self, ctx: _PageContext) -> Response:
        form = ctx.form()
        granted = await saml_sign_in.redeem(
            self._env, ctx.call, form.get("code", ""), form.get("code_verifier", ""), AWS_FORM
        )
        return Response(200, json.dumps(_credentials_json(granted)).encode("ascii"), b"application/json", HEADERS)

    async def _other(self, _: _PageContext) -> Response:
        raise _no_page()


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


# --- Errors


class SamlPageErrors(PageErrors):
    """Says what to do if a new response may help."""

    def show(self, request: Request, status: int, refusal: RecordedRefusal | None, **values: Any) -> Response:
        if refusal is not None and refusal.error.kind.family is Family.PROOF:
            values["message"] = f"{refusal.error.public.rstrip('.')}. To try again, start at your identity provider."
        return super().show(request, status, refusal, **values)


NO_SNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
PAGE_ERRORS: Final[ErrorFormat] = SamlPageErrors()
TOKEN_ERRORS: Final[ErrorFormat] = JsonErrors(headers=HEADERS)
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
        Route("/saml/", saml.other, "Every other page: not found", frozenset(), PAGE_ERRORS),
    )
