"""One request to a page of the console, by a person who is signed in.

Each operation that a page calls is on the record under its own name. Forms are checked before anything else is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeAlias, TypeVar
from urllib.parse import urlencode

from msgspec.structs import replace

from daypass.domain.access.request import original_principal
from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.accounts import awaits_first_administrator
from daypass.operations.authorize import would_allow
from daypass.operations.blocks import block_of
from daypass.operations.guardrails import ShownSettings
from daypass.operations.management import is_operator
from daypass.operations.outcome import served
from daypass.operations.record.summarize import Summaries
from daypass.operations.sign_in import step_up
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env
from daypass.wire.console.members import CONSOLE_ERRORS, ConsoleErrors
from daypass.wire.console.navigation import GROUPS, HOME, SETUP, menu
from daypass.wire.http import Handler, Response
from daypass.wire.web import cookies
from daypass.wire.web.context import PageContext, ParameterCheck, Site
from daypass.wire.web.render import redirect

T = TypeVar("T")

_SHOWN: Final = frozenset(
    {Family.DENIED, Family.CONTENT, Family.ABSENT, Family.REQUEST, Family.CONFLICT, Family.UPSTREAM, Family.PROOF}
)
"""Refusals that a page can show in the place of the part that was refused."""

ConsolePage: TypeAlias = "Callable[[ConsoleContext], Awaitable[Response]]"
SetupDone: TypeAlias = Callable[[], Awaitable[None]]


async def not_stored() -> None:
    """For a set-up code that is stored nowhere."""


@dataclass(frozen=True, slots=True)
class Console:
    """Dependencies of the console's pages beside the ports.

    Attributes:
        site: cookies, forms and templates.
        check: the check of parameters for operations that the service models describe.
        region: shown with credentials.
        settings: the settings of the server, without secrets.
        setup_code: with which the first administrator is made; "": none. setup_done: called when it was used.
        summaries: the figures of the dashboards of the last seconds.
    """

    site: Site
    check: ParameterCheck
    region: str
    settings: ShownSettings
    setup_code: str = field(default="", repr=False)
    setup_done: SetupDone = not_stored
    summaries: Summaries = field(default_factory=Summaries, repr=False)


@dataclass(frozen=True, slots=True)
class PagePart(Generic[T]):
    """A part of a page: its value, or why it was refused. `absent`: because it does not exist. `denied`: by policies."""

    value: T | None = None
    problem: str = ""
    absent: bool = False
    denied: bool = False


@dataclass(slots=True)
class ConsoleContext:
    """A request of the person `signed_in`. `values`: the query of a page, or the fields of a form. `closed`: the pages of
    the menu that the person may not open.
    """

    page_context: PageContext
    call: Call
    signed_in: SignedIn
    console: Console
    values: Mapping[str, str] = field(default_factory=dict)
    closed: Collection[str] = ()

    @property
    def env(self) -> Env:
        """The ports."""
        return self.page_context.env

    @property
    def person_id(self) -> str:
        """The principal id of the person, as requests and grants have it."""
        return original_principal(self.call.caller.hops)

    @property
    def live(self) -> str:
        """Another text after each change of the account's access requests and grants."""
        return self.env.directory.access_changed(self.call.caller.account)

    def block_on(self, principal_id: str) -> Revocation | None:
        """The block that keeps a user or role of the account from getting sessions now."""
        return block_of(self.env, self.call.now, self.call.caller.account, principal_id)

    def value(self, name: str, limit: int = 2048) -> str:
        """A parameter without surrounding spaces; "" when it is absent. Raises DaypassError(VALIDATION): too long."""
        found = self.values.get(name, "").strip()
        if len(found) > limit:
            raise DaypassError(ErrorKind.VALIDATION, f"The field {name} is over {limit} characters.")
        return found

    def required(self, name: str, limit: int = 2048) -> str:
        """A parameter that names an object. Without a name, operations act on the caller. Raises DaypassError(VALIDATION)."""
        found = self.value(name, limit)
        if not found:
            raise DaypassError(ErrorKind.VALIDATION, f"The field {name} is missing: it names the object.")
        return found

    def number(self, name: str, default: int = 0) -> int:
        """A whole number of at most nine digits. Raises DaypassError(VALIDATION)."""
        text = self.value(name)
        if not text:
            return default
        if len(text) > 9 or not text.isascii() or not text.isdigit():
            raise DaypassError(ErrorKind.VALIDATION, f"The field {name} is not a whole number.")
        return int(text)

    def time(self, name: str) -> int | None:
        """A time of an input of type datetime-local, read as UTC (ms); None for none. Raises DaypassError(VALIDATION)."""
        text = self.value(name, 32)
        if not text:
            return None
        try:
            return int(datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            message = f"The field {name} is a date and a time of day: 2026-01-31T12:00."
            raise DaypassError(ErrorKind.VALIDATION, message) from None

    def named(self, operation: str) -> Call:
        """The call of an operation, recorded as `operation` ("iam:ListRoles")."""
        self.page_context.progress.operation = operation
        return replace(self.call, facts=replace(self.call.facts, operation=operation))

    async def perform(self, operation: str, function: Callable[..., Awaitable[T]], *arguments: Any, **named: Any) -> T:
        """The result of an operation. Raises its DaypassError, which is recorded under the operation's name."""
        return await function(self.env, self.named(operation), *arguments, **named)

    async def attempt(
        self, operation: str, function: Callable[..., Awaitable[T]], *arguments: Any, **named: Any
    ) -> PagePart[T]:
        """As `perform`, for a part of a page: a refusal is recorded, and shown in its place.

        A missing object is an answer to the page, not a failed request. It is recorded as such. Parts that do not need one
        another are read at the same time, by `asyncio.gather`: their records share a commit.
        """
        try:
            return PagePart(await self.perform(operation, function, *arguments, **named))
        except DaypassError as error:
            self.named(operation)  # other parts may have been read in the meantime
            if error.kind.family not in _SHOWN:
                raise
            absent = error.kind.family is Family.ABSENT
            if absent:
                await self.env.journal.commit(served(self.named(operation), detail={"absent": error.public}))
            else:
                await self.page_context.site.front.record(self.page_context.progress, error)
            return PagePart(problem=error.public, absent=absent, denied=error.kind.family is Family.DENIED)

    async def problem(self, error: DaypassError) -> str:
        """Records a refusal after which the person may correct the form. Raises any other error again."""
        if error.kind.family not in _SHOWN:
            raise error
        return await self.page_context.refused(error)

    async def can_confirm(self) -> bool:
        """Whether the person has MFA, so that a form can offer to be confirmed."""
        return await step_up.can_confirm(self.env, self.call)

    async def person_name(self, principal_id: str) -> str:
        """The name of a user of this account by its id; the id of anybody else."""
        found = await self.env.directory.user(principal_id)
        known = found is not None and found.entity.account == self.call.caller.account
        return found.entity.name if found is not None and known else principal_id

    def _done(self) -> str:
        """The notice of the preceding form. A link from elsewhere shows none."""
        sites = [value for name, value in self.page_context.request.headers if name == b"sec-fetch-site"]
        return self.values.get("done", "")[:32] if all(site == b"same-origin" for site in sites) else ""

    def page(self, template: str, title: str, **values: Any) -> Response:
        """A page. `done`: a key of the messages in parts.html, from the query."""
        path = self.page_context.request.raw_path.decode("latin-1")
        values.setdefault("done", self._done())
        values.setdefault("live", self.live)
        return self.page_context.page(
            f"console/{template}",
            title=title,
            menu=menu(path, self.closed),
            now=self.call.now,
            account=self.call.caller.account,
            **values,
        )


def address(location: str, **parameters: object) -> str:
    """A path with a query; empty parameters are left out."""
    given = {name: str(value) for name, value in parameters.items() if value not in ("", None, 0)}
    return f"{location}?{urlencode(given)}" if given else location


def to(location: str, **parameters: object) -> Response:
    """Redirects to a page of the console."""
    return redirect(address(location, **parameters))


def get_handler(console: Console, serve: ConsolePage, operation: str = "", *, idle: bool = False) -> Handler:
    """The handler of a page that is only read. `idle`: the browser asks for it by itself; nobody needs to be there."""

    async def handle(ctx: PageContext) -> Response:
        query = ctx.query()
        found = await ctx.person(idle=idle)
        if found is None:
            if console.setup_code and await awaits_first_administrator(ctx.env):
                return redirect(SETUP)
            return ctx.to_sign_in(_current_address(ctx))
        return await _served(serve, ConsoleContext(ctx, *found, console, query))

    return console.site.handler(operation, handle, CONSOLE_ERRORS)


def post_handler(console: Console, serve: ConsolePage, operation: str) -> Handler:
    """The handler of a form: POST only, with the CSRF token of this browser."""

    async def handle(ctx: PageContext) -> Response:
        fields = ctx.form()
        found = await ctx.person()
        if found is None:
            return ctx.to_sign_in(HOME)
        return await _served(serve, ConsoleContext(ctx, *found, console, fields))

    return console.site.handler(operation, handle, CONSOLE_ERRORS)


async def _served(serve: ConsolePage, ctx: ConsoleContext) -> Response:
    """The page; for a refusal, the error page of the person."""
    web = ctx.page_context
    try:
        ctx.closed = await _closed_pages(ctx.env, ctx.call)
        return await serve(ctx)
    except DaypassError as error:
        page = ConsoleErrors(ctx.signed_in, cookies.token(web.cookie), ctx.closed)
        return await web.site.front.refuse(web.progress, error, page)


async def _closed_pages(env: Env, call: Call) -> frozenset[str]:
    items = [item for _, group in GROUPS for item in group if item.action]
    allowed = await would_allow(env, call, [(each.action, each.resource.format(call.caller.account)) for each in items])
    operator = await is_operator(env, call.caller)
    return frozenset(
        item.path for item, may in zip(items, allowed, strict=True) if not may or (item.operator and not operator)
    )


def _current_address(ctx: PageContext) -> str:
    request = ctx.request
    query = f"?{request.raw_query.decode('latin-1')}" if request.raw_query else ""
    return request.raw_path.decode("latin-1") + query
