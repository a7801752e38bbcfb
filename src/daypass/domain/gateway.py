"""Which action on which resource a request means that a proxy asks about: its method and path, by the routes of a resource
server.

A path that the proxy, this server and the application might read differently is refused, never repaired.
Sources: RFC 3986, 2.1, 3.3 and 6.2.2.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from msgspec import Struct

from daypass.domain.authzen import SERVED

MAX_ROUTES: Final = 200

_ACTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}:[A-Za-z0-9_.-]{1,128}")
_METHOD = re.compile(r"[A-Z]{1,20}")
_HOST = re.compile(r"https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?")
_LITERAL = re.compile(r"[A-Za-z0-9_.~!$&'()+,=:@-]+")
_PLACE = re.compile(r"\{([A-Za-z_]{1,32})\}")
_PARAMETER = re.compile(r"[A-Za-z_]{1,32}")
_VALUE = re.compile(rb"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}){1,512}")
_RAW_PATH = re.compile(rb"(?:/(?:[!-\"$&-.0-:<->@-\[\]-~]|%[0-9A-Fa-f]{2})*)+")  # no \ ; # ? or space, no bare %
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_REST: Final = "**"
_MAX_TEXT: Final = 512
_MAX_PARAMETERS: Final = 4


class GatewayRoute(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One route. The first route that fits decides; a request that fits none is refused."""

    path: str  # `/orders/{id}`: a place in braces is one segment. `/**` at the end is any rest, `{rest}` in `resource`
    action: str  # `orders:Read`. Its prefix is the service in the resource's ARN, and that of SigV4 signatures
    resource: str  # `order/{id}`, which stands for `arn:aws:orders::ACCOUNT:order/7`
    methods: tuple[str, ...] = ()  # empty for all. HEAD is read as GET
    query: tuple[str, ...] = ()  # parameters that the query must have once, and that `resource` may name, as `{DBUser}`


class Meaning(NamedTuple):
    """The action and resource of a request."""

    action: str
    resource: str

    @property
    def service(self) -> str:
        return self.action.partition(":")[0]


def check_routes(routes: tuple[GatewayRoute, ...]) -> None:
    """Raises ValueError that names the first route which cannot be used."""
    if len(routes) > MAX_ROUTES:
        raise ValueError(f"routes: at most {MAX_ROUTES} are allowed.")
    for number, route in enumerate(routes, 1):
        if wrong := _wrong_with(route):
            raise ValueError(f"routes: route {number}: {wrong}.")


def check_origin(origin: str) -> None:
    """Raises ValueError unless it is empty, or a scheme and a host in lower case, perhaps with a port."""
    if origin and not _HOST.fullmatch(origin):
        raise ValueError("origin: https://HOST or https://HOST:PORT is expected, in lower case.")


def _wrong_with(route: GatewayRoute) -> str:
    segments = route.path.removesuffix("/" + _REST).split("/")[1:]
    places = [match[1] for segment in segments if (match := _PLACE.fullmatch(segment))]
    usual = all(_LITERAL.fullmatch(each) or _PLACE.fullmatch(each) for each in segments[:-1])
    last = not segments or not segments[-1] or _LITERAL.fullmatch(segments[-1]) or _PLACE.fullmatch(segments[-1])
    if len(route.path) > _MAX_TEXT or not route.path.startswith("/") or not usual or not last:
        return "path has segments like `orders` and `{id}`, and ends with `/**` for any rest"
    if any(segment in (".", "..", _REST) for segment in segments) or len(set(places)) < len(places):
        return "path has no dot segments, `**` only at its end, and each place once"
    if not _ACTION.fullmatch(route.action) or route.action.partition(":")[0] in SERVED:
        return "action is SERVICE:NAME, of a service of your own"
    known = {*places, *route.query, "rest"} if route.path.endswith(_REST) else {*places, *route.query}
    if len(route.query) > _MAX_PARAMETERS or not all(map(_PARAMETER.fullmatch, route.query)):
        return f"query is at most {_MAX_PARAMETERS} names of letters and _"
    if len({*places, *route.query, "rest"}) <= len(places) + len(route.query):
        return "query has no name twice, and none of a place in path"
    rest = _PLACE.sub("", route.resource)
    if not route.resource or len(route.resource) > _MAX_TEXT or "{" in rest or "}" in rest or not rest.isprintable():
        return "resource is a text like `order/{id}`"
    if unknown := [name for name in _PLACE.findall(route.resource) if name not in known]:
        return f"resource has {{{unknown[0]}}}, which path does not have"
    if not all(map(_METHOD.fullmatch, route.methods)):
        return "methods are in upper case"
    return ""


def read_path(unverified_raw: bytes) -> tuple[str, ...]:
    """The decoded segments of a path. Raises ValueError for one that programs read differently: dot segments, encoded
    slashes, empty segments, backslashes, parameters (`;`), control characters, what is encoded twice, and what is not UTF-8.
    """
    if not _RAW_PATH.fullmatch(unverified_raw):
        raise ValueError("it has characters that are not allowed in a path")
    segments = unverified_raw[1:].split(b"/")
    if b"" in segments[:-1]:
        raise ValueError("it has an empty segment")
    return tuple(map(_segment, segments))


def _segment(raw: bytes) -> str:
    if b"%" not in raw:
        text = raw.decode("ascii")
    else:
        try:
            text = _decoded(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8") from None
        if not text.isprintable() or not _AMBIGUOUS.isdisjoint(text):
            raise ValueError("it has encoded characters that programs read differently")
    if text in (".", ".."):
        raise ValueError("it has a dot segment")
    return text


def _decoded(raw: bytes) -> bytes:
    return _ENCODED.sub(lambda found: bytes([int(found[1], 16)]), raw)


_AMBIGUOUS: Final = frozenset("/\\%?#;")


def meaning_of(
    routes: tuple[GatewayRoute, ...],
    method: str,
    segments: tuple[str, ...],
    account: str,
    unverified_query: bytes = b"",
) -> Meaning | None:
    """The first matching route's action and resource; None without one. Raises ValueError: a parameter that it names is ambiguous."""
    method = "GET" if method == "HEAD" else method
    for route in routes:
        if route.methods and method not in route.methods:
            continue
        places = _places(route.path, segments)
        if places is not None:
            places |= _parameters(route.query, unverified_query)
            named = _PLACE.sub(lambda match: places[match[1]], route.resource)  # noqa: B023  # used at once
            service = route.action.partition(":")[0]
            return Meaning(route.action, f"arn:aws:{service}::{account}:{named}")
    return None


def _parameters(names: tuple[str, ...], unverified_query: bytes) -> dict[str, str]:
    """The values of the named parameters. Raises ValueError unless each is there once, in letters that all programs read alike."""
    pairs = [pair.partition(b"=") for pair in unverified_query.split(b"&")] if names else []
    found = {}
    for name in names:
        values = [value for key, _, value in pairs if _decoded(key).strip() == name.encode("ascii")]
        if len(values) != 1 or not _VALUE.fullmatch(values[0]):
            raise ValueError(f"the parameter {name} must be there once")
        found[name] = _segment(values[0])
    return found


def _places(path: str, segments: tuple[str, ...]) -> dict[str, str] | None:
    """The values of the places, if the path fits."""
    wanted = path[1:].split("/")
    places: dict[str, str] = {}
    if wanted[-1] == _REST:
        del wanted[-1]
        if len(segments) < len(wanted):
            return None
        places["rest"] = "/".join(segments[len(wanted) :])
    elif len(segments) != len(wanted):
        return None
    for pattern, segment in zip(wanted, segments, strict=False):
        if pattern.startswith("{"):
            if not segment:
                return None
            places[pattern[1:-1]] = segment
        elif pattern != segment:
            return None
    return places
