"""The common part of the OAuth endpoints: their server, the form of a request, and their refusals.

Nothing here decides. No answer may be cached.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import OPENID_SCOPES
from daypass.domain.oauth.urls import web_origins
from daypass.operations.oauth.authorization import OPENID
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.ports import AuthorizationServer, Call, Env
from daypass.wire.access_token import with_nonce
from daypass.wire.content import check_media_type, pairs_of
from daypass.wire.front import ErrorFormat, Front, RequestProgress
from daypass.wire.http import FixedHeaders, Header, Request, Response, only_value
from daypass.wire.oauth.errors import INVALID_CLIENT, INVALID_REQUEST, JSON, NO_STORE, OAuthErrors

CrossOrigin: TypeAlias = Callable[[Request, AuthenticatedClient | None], tuple[Header, ...]]
"""The headers for the answer to a request, and to the client that sent it, if it is known."""

PREFLIGHT: Final = Response(
    200,
    b"",
    JSON,
    FixedHeaders(
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"authorization, content-type, dpop"),
        (b"access-control-max-age", b"7200"),
    ),
)
"""The answer to OPTIONS, at the paths that allow it."""

_EXPOSED: Final[Header] = (b"access-control-expose-headers", b"DPoP-Nonce, Retry-After, WWW-Authenticate")


def for_no_page(_request: Request, _client: AuthenticatedClient | None) -> tuple[Header, ...]:
    """No page of another origin."""
    return ()


def for_every_page(_request: Request, _client: AuthenticatedClient | None) -> tuple[Header, ...]:
    """Every page: the answer depends on the access token in a header alone."""
    return (b"access-control-allow-origin", b"*"), _EXPOSED


def for_pages_of_client(request: Request, client: AuthenticatedClient | None) -> tuple[Header, ...]:
    """The pages of a public client."""
    if client is None or client.settings.type != "public":
        return ()
    origin = only_value(request.headers, b"origin")
    if origin.decode("latin-1") not in web_origins(client.settings.redirect_uris):
        return ()
    return (b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED


RESOURCE_PATH: Final = "/.well-known/oauth-protected-resource"
"""The metadata of this server as a protected resource (RFC 9728)."""

_MAX_FIELDS: Final = 64
_MAX_NAME: Final = 64

Form: TypeAlias = "Mapping[str, tuple[str, ...]]"


class EndpointContext(msgspec.Struct, eq=False):
    """One request and its progress, for use in a refusal."""

    front: Front
    env: Env
    request: Request
    progress: RequestProgress
    server: AuthorizationServer
    certificate_header: str = ""  # the header in which trusted proxies forward a client's certificate, "" for none
    # unacceptable, unproven: see `errors.oauth_error`.
    unacceptable: str = INVALID_REQUEST
    unproven: str = INVALID_CLIENT
    resource: bool = False  # the request is one for a protected resource, with an access token
    detail: dict[str, Any] = msgspec.field(default_factory=dict)  # for the record, without secrets
    client: AuthenticatedClient | None = None  # the client that has authenticated
    _form: Form | None = None

    def __repr__(self) -> str:  # the form holds secrets
        return f"EndpointContext({self.progress.operation!r})"

    def anonymous(self) -> Call:
        """See `Front.anonymous`."""
        return self.front.anonymous(self.progress)

    async def record(self, error: DaypassError) -> None:
        """Records a refusal that is not returned to the caller as an error. Raises DaypassError(UNAVAILABLE)."""
        self.progress.detail = self.detail
        await self.front.record(self.progress, self.attributed(error))

    def attributed(self, error: DaypassError) -> DaypassError:
        """The refusal with the client as its actor, unless it names one."""
        if self.client is None:
            return error
        private = {**self.client.private, **error.private}
        return DaypassError(error.kind, error.public, private=private, explanation=error.explanation)

    def form(self, repeatable: frozenset[str] = frozenset()) -> Form:
        """The parameters in the body. Those without a value count as absent (RFC 6749, 3.1). The first call decides.

        Raises DaypassError(MALFORMED_REQUEST): another media type, parameters in the URL, twice the same one.
        """
        if self._form is None:
            self._form = self._read_form(repeatable)
        return self._form

    def _read_form(self, repeatable: frozenset[str]) -> Form:
        check_media_type(self.request.headers)
        if self.request.raw_query:
            raise malformed("Parameters are sent in the body, not in the URL.")
        form: dict[str, tuple[str, ...]] = {}
        for name, value in pairs_of(self.request.body, _MAX_FIELDS, strict=True):
            if name in form and name not in repeatable:
                raise malformed(f"The parameter {name[:_MAX_NAME]!r} is given twice.")
            form[name] = (*form.get(name, ()), value)
        self.detail["parameters"] = sorted([name[:_MAX_NAME] for name in form])[:_MAX_FIELDS]
        return {name: values for name, values in form.items() if any(values)}


Serve: TypeAlias = Callable[[EndpointContext], Awaitable[Response]]


class OAuthEndpoint:
    """The handler of one path.

    Args:
        operation: its name on the record, "daypass:ExchangeToken".
        serve: answers a ctx, or raises DaypassError.
        certificate_header: see `EndpointContext`.
        pages: which pages of other origins may read its answers and refusals.
        errors: how refusals are written, if not as OAuth's.
    """

    def __init__(
        self,
        front: Front,
        operation: str,
        serve: Serve,
        certificate_header: str = "",
        pages: CrossOrigin = for_no_page,
        errors: ErrorFormat | None = None,
    ) -> None:
        self._front = front
        self.operation = operation
        self._serve = serve
        self._certificate_header = certificate_header.lower()
        self._pages = pages
        self._errors = errors

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        env = self._front.env
        server = env.oauth
        if not server.enabled:
            raise DaypassError(ErrorKind.NOT_FOUND, "OAuth is off: server.public_url is not set.")
        if request.method == "OPTIONS":
            return PREFLIGHT
        progress = RequestProgress(request, self.operation)
        ctx = EndpointContext(self._front, env, request, progress, server, self._certificate_header)
        try:
            response = await self._serve(ctx)
        except DaypassError as error:
            progress.detail = ctx.detail
            metadata = server.issuer + RESOURCE_PATH if ctx.resource else ""
            errors = self._errors or OAuthErrors(ctx.unacceptable, ctx.unproven, metadata)
            response = await self._front.refuse(progress, ctx.attributed(error), errors)
        if more := self._pages(request, ctx.client):
            response = replace(response, headers=(*response.headers, *more))
        return with_nonce(env, progress, response)


def answer(content: Mapping[str, Any]) -> Response:
    """A served request."""
    return Response(200, msgspec.json.encode(content), JSON, NO_STORE)


def malformed(message: str) -> DaypassError:
    """The refusal of a request that cannot be read."""
    return DaypassError(ErrorKind.MALFORMED_REQUEST, message)


# --- Parameters that several endpoints read: audiences, scope, and single values


REPEATABLE: Final = frozenset({"resource", "audience"})
OFFLINE: Final = "offline_access"
"""Scopes of OpenID Connect that select claims, all voluntary, and one that asks for refresh tokens."""
_MAX_AUDIENCES: Final = 8
_AUDIENCE = re.compile(r"[!-~]{1,512}")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[!\"$-~]{1,480}")  # an absolute URI without a fragment
_TEXT = re.compile(r"[ -~]{0,512}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}(?: [!#-\[\]-~]{1,64}){0,31}")


def one(form: Form, name: str) -> str:
    """The value of a parameter; "" when it is absent."""
    return form.get(name, ("",))[0]


def required(form: Form, name: str) -> str:
    """The value of a parameter. Raises DaypassError(MISSING_PARAMETER)."""
    if name not in form:
        raise missing(name)
    return form[name][0]


def missing(name: str) -> DaypassError:
    return DaypassError(ErrorKind.MISSING_PARAMETER, f"The parameter {name} is missing.")


def is_text(value: str) -> bool:
    """Whether a value that goes back to the client is printable and not too long."""
    return _TEXT.fullmatch(value) is not None


def text_of(form: Form, name: str) -> str:
    """The value of a parameter that goes back to the client. Raises DaypassError(VALIDATION)."""
    if not is_text(text := one(form, name)):
        raise DaypassError(ErrorKind.VALIDATION, f"{name} has at most 512 printable ASCII characters.")
    return text


def audiences_of(form: Form) -> tuple[str, ...]:
    """`resource` (RFC 8707) and `audience` (RFC 8693) together. Raises DaypassError(INVALID_TARGET)."""
    resources, audiences = form.get("resource", ()), form.get("audience", ())
    chosen = tuple(dict.fromkeys((*resources, *audiences)))
    for values, pattern in ((resources, _RESOURCE), (audiences, _AUDIENCE)):
        if not all(pattern.fullmatch(value) for value in values):
            raise DaypassError(
                ErrorKind.INVALID_TARGET,
                "A resource is an absolute URI without a fragment, an audience up to 512 characters without spaces.",
            )
    if len(chosen) > _MAX_AUDIENCES:
        raise DaypassError(ErrorKind.INVALID_TARGET, f"A token has at most {_MAX_AUDIENCES} audiences.")
    return chosen


def openid_scope_of(form: Form, registered: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The scopes of OpenID Connect, () without `openid`; and the others, None without any. Raises DaypassError(INVALID_SCOPE).

    Most libraries ask for some of them. One that the client is `registered` for is a resource server's.
    """
    scope = scope_of(form) or ()
    if OPENID not in scope:
        return (), scope or None
    openid = tuple(name for name in scope if name == OPENID or name in OPENID_SCOPES - set(registered))
    return openid, tuple(name for name in scope if name not in openid) or None


def scope_of(form: Form) -> tuple[str, ...] | None:
    """`scope`; None when it is absent. Raises DaypassError(INVALID_SCOPE)."""
    if "scope" not in form:
        return None
    text = one(form, "scope")
    if not _SCOPE.fullmatch(text):
        raise DaypassError(
            ErrorKind.INVALID_SCOPE, "A scope is up to 32 names of up to 64 characters, each behind one space."
        )
    return tuple(dict.fromkeys(text.split(" ")))
