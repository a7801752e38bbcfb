"""One request of a browser: its cookie, its form, and the person who is signed in. Every page is a handler made here.

A page that changes something is reached by POST only, and checks the form first: `PageContext.form` does both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations import rates
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env
from daypass.wire.content import check_media_type, pairs_of, unique
from daypass.wire.front import ErrorFormat, Front, RequestProgress
from daypass.wire.http import Handler, Header, Request, Response
from daypass.wire.json_errors import wire_error
from daypass.wire.web import cookies
from daypass.wire.web.cookies import Cookies, theme
from daypass.wire.web.render import PAGE_ERRORS, page, redirect

LOGIN: Final = "/login"
_MAX_FIELDS: Final = 64
_TOKENS: Final = 1.0  # that a page costs a person, relative to an STS request

Fields: TypeAlias = "Mapping[str, tuple[str, ...]]"
"""Parameters by name; one that may be repeated has several values. Those without a value are absent."""

ParameterCheck: TypeAlias = "Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]"
"""Service ("iam"), operation and parameters to parameters that satisfy the service model. Raises DaypassError(VALIDATION)
with AWS's message. It is the check of the service's own wire."""

Page: TypeAlias = "Callable[[PageContext], Awaitable[Response]]"


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of this installation. `public_url`: its address for browsers; "": the pages are off."""

    front: Front
    public_url: str
    cookies: Cookies = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cookies", Cookies(self.public_url))

    def handler(
        self, operation: str, serve: Page, errors: ErrorFormat = PAGE_ERRORS, *, always: bool = False
    ) -> Handler:
        """The handler of a page. `operation`: its name on the record; "" for a page that proves and changes nothing.
        `always`: also while the pages are off, because the page that says so needs it.
        """

        async def handle(request: Request) -> Response:
            ctx = PageContext(self, RequestProgress(request, operation, detail={}))
            try:
                if not always:
                    self._check()
                if request.method in ("GET", "HEAD") and self.cookies.is_elsewhere(request.headers):
                    return redirect(f"{self.public_url}{_target(request)}")
                return await serve(ctx)
            except DaypassError as error:
                return await self.front.refuse(ctx.progress, error, errors)

        return handle

    def _check(self) -> None:
        if not self.public_url:
            raise DaypassError(
                ErrorKind.NOT_FOUND,
                "The pages are off. Set server.public_url to the address that browsers use, and start the server again.",
            )
        if not self.cookies.allowed:
            raise DaypassError(ErrorKind.NOT_FOUND, "The pages are off: server.public_url must begin with https://.")


@dataclass(slots=True)
class PageContext:
    """One request to a page, and its progress for a refusal."""

    site: Site
    progress: RequestProgress
    _cookie: str = ""
    _signed_in: SignedIn | None = None
    _refused: tuple[str, int] = ("", 200)  # code and status of the page

    @property
    def env(self) -> Env:
        """The ports."""
        return self.site.front.env

    @property
    def request(self) -> Request:
        """The request itself."""
        return self.progress.request

    # --- the browser

    @property
    def cookie(self) -> str:
        """The value of the browser's cookie; a new one for a browser without one. See `page`."""
        if not self._cookie:
            self._cookie = self.site.cookies.value(self.request.headers) or self.env.ids.secret()
        return self._cookie

    def anonymous(self) -> Call:
        """The call of a person who is not signed in. Raises DaypassError(THROTTLED)."""
        return self.site.front.anonymous(self.progress)

    async def person(self, *, idle: bool = False) -> tuple[Call, SignedIn] | None:
        """The person who is signed in, and the call; None for nobody. Raises DaypassError: THROTTLED, UNAVAILABLE.

        `idle`: the browser asks by itself, which does not keep the person signed in.
        """
        if not self.site.cookies.value(self.request.headers):
            return None
        now = self.env.clock.now()
        signed_in = await browser_session.read(self.env, self.cookie, now)
        if signed_in is None:
            return None
        self._signed_in = signed_in
        call = self.site.front.proven(self.progress, signed_in.caller, _TOKENS)
        if not idle:
            await browser_session.touch(self.env, call, signed_in)
        return call, signed_in

    # --- what was sent

    def query(self) -> dict[str, str]:
        """The parameters in the URL. Raises DaypassError(MALFORMED_REQUEST): twice the same one."""
        return self._pairs(self.request.raw_query)

    def fields(self, repeatable: frozenset[str] = frozenset()) -> Fields:
        """The parameters in the URL. Raises DaypassError(MALFORMED_REQUEST): one that may not be repeated is given twice."""
        return self._fields(self.request.raw_query, repeatable)

    def posted(self, repeatable: frozenset[str] = frozenset()) -> Fields:
        """The fields of a form that any site may send. It must change nothing. Raises DaypassError(MALFORMED_REQUEST)."""
        check_media_type(self.request.headers)
        if self.request.raw_query:
            raise DaypassError(
                ErrorKind.MALFORMED_REQUEST, "The parameters of a form are sent in the body, not in the URL."
            )
        return self._fields(self.request.body, repeatable)

    def _fields(self, data: bytes, repeatable: frozenset[str]) -> Fields:
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self._parsed(data):
            if name in found and name not in repeatable:
                raise DaypassError(ErrorKind.MALFORMED_REQUEST, "A parameter is given twice.")
            found[name] = (*found.get(name, ()), value)
        return {name: values for name, values in found.items() if any(values)}

    def form(self) -> dict[str, str]:
        """The fields of a form of ours. Raises DaypassError: MALFORMED_REQUEST, ACCESS_DENIED for another page's form."""
        request = self.request
        check_media_type(request.headers)
        fields = self._pairs(request.body)
        cookie = self.site.cookies.value(request.headers)
        cookies.check(request.headers, self.site.public_url, cookie, fields.get(cookies.FIELD, ""))
        return fields

    def _pairs(self, data: bytes) -> dict[str, str]:
        return unique(self._parsed(data))

    def _parsed(self, data: bytes) -> list[tuple[str, str]]:
        pairs = pairs_of(data, _MAX_FIELDS)
        self.progress.detail = {"names": sorted({name[:64] for name, _ in pairs})}
        return pairs

    # --- what is answered

    def page(self, template: str, *headers: Header, **values: Any) -> Response:
        """A page with forms: it has the CSRF token of the browser, and gives a browser without a cookie one."""
        given = self.fresh_cookie()
        values.setdefault("person", self._signed_in)
        code, status = self._refused
        values.update(csrf=cookies.token(self.cookie), theme=theme(self.request.headers), error_code=code)
        response = page(template, *given, *headers, status=status, **values)
        return replace(response, operation=self.progress.operation, code=code)

    def fresh_cookie(self) -> tuple[Header, ...]:
        """The header that gives a browser without a cookie one."""
        fresh = self.site.cookies.value(self.request.headers) != self.cookie
        return (self.site.cookies.set(self.cookie),) if fresh else ()

    async def refused(self, error: DaypassError) -> str:
        """Records a refusal after which the person may correct the form, and returns its text. `page` then has its status.

        Raises DaypassError: UNAVAILABLE when it cannot be recorded, THROTTLED when the source is over its rate.
        """
        front, progress = self.site.front, self.progress
        answered = rates.refusal_of(front.env, progress.facts(), progress.caller, error)
        if answered is not error:
            raise answered
        await front.record(progress, error)
        self._refused = wire_error(error.kind)
        return error.public

    def signed_in(self, cookie: str, location: str) -> Response:
        """Gives the browser the cookie of a new browser session, and takes it to a path of ours."""
        return redirect(location, self.site.cookies.set(cookie))

    def to_sign_in(self, path: str, **parameters: str) -> Response:
        """Takes the browser to the sign-in, and afterwards to a path of ours."""
        return redirect(f"{LOGIN}?{_query({'next': cookies.checked(path), **parameters})}")


def _target(request: Request) -> str:
    """The path and query of a request, as they were sent."""
    path = quote(request.raw_path.decode("latin-1"), safe="/%")
    return f"{path}?{quote(request.raw_query.decode('latin-1'), safe='=&%+')}" if request.raw_query else path


def _query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items() if value)
