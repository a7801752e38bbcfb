"""Templates to pages. Everything that a template shows is escaped (attack A87), and no page runs inline script or style.

Pages of the console run our own script files; all other pages run no script.

Whatever could pose as something else becomes visible: see `domain.visible`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import iso_time
from daypass.domain.visible import visible as visible_text
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, wire_error
from daypass.wire.web.cookies import theme

if TYPE_CHECKING:
    from jinja2 import Environment


HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'{}; form-action 'self'{}; base-uri 'none'; frame-ancestors 'none'{}"
_CONSOLE: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Images by `data:` are the icons of Tabler's style sheet; by `blob:`, exported charts."""
_PROVIDER: Final = re.compile("arn:[^:/]*:iam::[0-9]*:(?:oidc|saml)-provider/")
_HTML: Final = b"text/html; charset=utf-8"


def page(
    template: str,
    *headers: Header,
    status: int = 200,
    form_action: str = "",
    scripts: tuple[str, ...] = (),
    theme: str = "",
    picture: str = "",
    **values: Any,
) -> Response:
    """The page of a template.

    Args:
        template: its name without ".html". Those of the console, "console/NAME", may run our script files.
        headers: further headers, for example a cookie.
        form_action: a further origin or scheme to which the answer to a form may redirect.
        scripts: static files that the page runs; a page without them may run no script at all.
        theme: "dark" or "light"; "": as the system.
        picture: a PNG in base64; a page without one may show no image from its own text.
        values: what the template shows. `title` is needed; see base.html for the others.
    """
    body = (
        _environment().get_template(f"{template}.html").render(scripts=scripts, theme=theme, picture=picture, **values)
    )
    policy = _POLICY.format(
        " data:" if picture else "", f" {form_action}" if form_action else "", "; script-src 'self'" if scripts else ""
    )
    if template.startswith("console/"):
        policy = _CONSOLE
    sent = (*HEADERS, (b"content-security-policy", policy.encode("ascii")), *headers)
    return Response(status, body.encode("utf-8", "backslashreplace"), _HTML, sent)


def prepare() -> None:
    """Compiles the templates of a sign-in and of what follows it, for a thread: the first pages then wait for none."""
    for name in ("login", "code", "console/home", "error"):
        _environment().get_template(f"{name}.html")


def redirect(location: str, *headers: Header) -> Response:
    """Redirects the browser with GET (303). `location`: a path of ours, or a checked URL; printable ASCII."""
    return Response(303, b"", b"text/plain", (*HEADERS, (b"location", location.encode("ascii")), *headers))


def visible(value: object) -> object:
    """A text with escapes for what could deceive; anything else unchanged."""
    return visible_text(value) if type(value) is str else value  # not Markup, which is a part of a page


def lines(text: str) -> str:
    """A text of several lines for `pre` and `textarea`: escaped, with its line ends and tabs, and `visible` otherwise."""
    from markupsafe import Markup, escape  # noqa: PLC0415  # comes with Jinja2

    return Markup("\n").join(escape(visible(line.replace("\t", "    "))) for line in text.splitlines())


def exact(text: str) -> str:
    """A text for an attribute that comes back exactly as it is: the value of a hidden field, which nobody sees."""
    from markupsafe import Markup, escape  # noqa: PLC0415  # comes with Jinja2

    escaped = escape(text)
    if escaped.isprintable():
        return escaped
    kept = (c if c.isprintable() or "\x80" <= c <= "\x9f" else f"&#{ord(c)};" for c in escaped)
    return Markup("".join(kept))  # noqa: S704  # escaped above


def moment(ms: int) -> str:
    """A time for people: 2026-01-31 12:00 UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ms / 1000))


def iso(ms: int) -> str:
    """A time for the attribute `datetime`: 2026-01-31T12:00:00Z."""
    return iso_time(ms // 1000)


def duration(seconds: float) -> str:
    """A duration for people, in its two largest units: "1 h 30 min", "2 days", "45 s"."""
    left, parts = max(0, int(seconds)), []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"


def span(seconds: int) -> str:
    """A duration in a sentence: "7 days", "1 day"; parts of days as `duration`."""
    days, rest = divmod(seconds, 86_400)
    return duration(seconds) if rest or not days else "1 day" if days == 1 else f"{days} days"


def arn_name(arn: str) -> str:
    """The name in an ARN: what follows the last slash, or "root". A session has the name of its role, too: whoever assumes
    a role chooses the name of the session, and could choose that of a user (attack A313). A subject of a provider has the
    name of the provider, too, because a subject may contain slashes (A346).
    """
    arn = visible_text(arn)
    head, _, name = arn.rpartition("/")
    if not head:
        return "root" if arn.startswith("arn:") and arn.endswith(":root") else arn
    if subject := _PROVIDER.match(arn):
        return arn[subject.end() :]
    kind, _, role = head.rpartition(":")[2].partition("/")
    return f"{role or kind}/{name}" if kind in ("assumed-role", "federated-user") else name


def services(permissions: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Permissions by the service of their action, in order. One that excepts an action is about every service."""
    found: dict[str, list[Any]] = {}
    for each in permissions:
        excepted = getattr(each, "excepted", False) or getattr(each, "not_action", False)
        service = "every service" if excepted or ":" not in each.action else each.action.partition(":")[0]
        found.setdefault(service, []).append(each)
    return sorted(found.items())


def pretty(value: object) -> str:
    """JSON for people: a document's text, or a value, with two spaces for each level. Text that is not JSON as it is."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        return json.dumps(parsed, indent=2, ensure_ascii=False, default=str)
    except ValueError:
        return str(value)


@cache
def _environment() -> Environment:
    """Made at the first page: Jinja2 takes a while to import."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  # see above

    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = address
    made.filters.update(
        exact=exact,
        lines=lines,
        moment=moment,
        iso=iso,
        duration=duration,
        span=span,
        arn_name=arn_name,
        pretty=pretty,
        services=services,
        agent=user_agent_name,
    )
    return made


# --- User agents in words: "Firefox 128 on Linux"


_BROWSERS: Final = (
    (re.compile(r"\bEdgA?/(\d+)"), "Edge"),
    (re.compile(r"\bOPR/(\d+)"), "Opera"),
    (re.compile(r"\b(?:Firefox|FxiOS)/(\d+)"), "Firefox"),
    (re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/(\d+)"), "Chrome"),
    (re.compile(r"\bVersion/(\d+).* Safari/"), "Safari"),
)
_SYSTEMS: Final = (
    (re.compile(r"\bWindows\b()"), "Windows"),
    (re.compile(r"\b(?:iPhone|iPad)\b()"), "iOS"),
    (re.compile(r"\bAndroid\b()"), "Android"),
    (re.compile(r"\bMac OS X\b()"), "macOS"),
    (re.compile(r"\bCrOS\b()"), "ChromeOS"),
    (re.compile(r"\bLinux\b()"), "Linux"),
)
_PRODUCT: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40})/([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40})")
_READ: Final = 512  # characters of a user agent that are looked at


def user_agent_name(text: str) -> str:
    """The browser and its system, or the first product of another client; the text itself if it has neither."""
    text = text[:_READ]
    if text.startswith("Mozilla/"):
        found = (_first(text, _BROWSERS), _first(text, _SYSTEMS))
        return " on ".join(filter(None, found)) or text
    product = _PRODUCT.match(text)
    return f"{product[1]} {product[2]}" if product else text


def _first(text: str, table: Iterable[tuple[re.Pattern[str], str]]) -> str:
    found = ((pattern.search(text), name) for pattern, name in table)
    return next((f"{name} {match[1]}".rstrip() for match, name in found if match), "")


# --- Static files of the pages


PREFIX: Final = "/static/"
_TYPES: Final[Mapping[str, bytes]] = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"vary", b"accept-encoding"),
)
_GZIP: Final[Header] = (b"content-encoding", b"gzip")


class _File(NamedTuple):
    address: str
    body: bytes
    media_type: bytes


@cache
def _files() -> Mapping[str, _File]:
    """Static files by name. Read once, at the first page."""
    found = {}
    for entry in (files(__package__) / "static").iterdir():
        stem, _, extension = entry.name.rpartition(".")
        if extension in _TYPES:
            body = entry.read_bytes()
            address = f"{PREFIX}{stem}.{hashlib.sha256(body).hexdigest()[:16]}.{extension}"
            found[entry.name] = _File(address, body, _TYPES[extension])
    return found


@cache
def _compressed(address: str) -> bytes:
    """The body of a file in gzip format. The only inputs are our own files, so their number bounds the cache."""
    return gzip.compress(_by_address()[address].body, 9, mtime=0)


@cache
def _by_address() -> Mapping[str, _File]:
    return {file.address: file for file in _files().values()}


def address(name: str) -> str:
    """The address of a file, for templates: "/static/web.0123456789abcdef.css"."""
    return _files()[name].address


async def serve(request: Request) -> Response:
    """GET /static/NAME.DIGEST.EXTENSION. Raises DaypassError(NOT_FOUND)."""
    file = _by_address().get(request.raw_path.decode("latin-1"))
    if file is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "This file does not exist.")
    if _takes_gzip(request):
        return Response(200, _compressed(file.address), file.media_type, (*_HEADERS, _GZIP))
    return Response(200, file.body, file.media_type, _HEADERS)


def _takes_gzip(request: Request) -> bool:
    """Whether the client lists gzip without a weight (RFC 9110, 12.5.3), as all browsers do."""
    listed = b",".join(value for name, value in request.headers if name == b"accept-encoding")
    return b"gzip" in {part.strip() for part in listed.split(b",")}


# --- ErrorKind to error pages: code, status and a page with what a person can do next


_TITLES: Final[Mapping[Family, str]] = {
    Family.ABSENT: "Page not found",
    Family.DENIED: "Not allowed",
    Family.THROTTLED: "Too many requests",
    Family.UNAVAILABLE: "Not available now",
}
_OTHER: Final = "This did not work"
_STATUS: Final[Mapping[ErrorKind, int]] = {ErrorKind.ALREADY_EXISTS: 409, ErrorKind.OVERLOADED: 503}


class PageErrors:
    """`front.ErrorFormat` for browsers."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        error = refusal.error
        code, status = wire_error(error.kind)
        title = _TITLES.get(error.kind.family, _OTHER)
        response = self.show(
            request,
            _STATUS.get(error.kind, status),
            refusal,
            title=title,
            message=error.public,
            code=code,
            encoded=refusal.encoded,
        )
        return replace(response, operation=refusal.operation, code=code)

    def broken(self, request: Request) -> Response:
        response = self.show(request, 500, None, title=_OTHER, message=INTERNAL, code=INTERNAL_CODE, encoded="")
        return replace(response, code=INTERNAL_CODE)

    def show(self, request: Request, status: int, refusal: RecordedRefusal | None, **values: Any) -> Response:  # noqa: ARG002  # for pages that show more of it
        """The page. `refusal`: None for an unexpected failure."""
        return page("error", status=status, theme=theme(request.headers), request_id=request.request_id, **values)


PAGE_ERRORS: Final[ErrorFormat] = PageErrors()
