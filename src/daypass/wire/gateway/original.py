"""Reads the request that a proxy asks about. Its method and target are what the proxy says, which must set them itself.

A request that hides something from one of its readers is refused: a header twice, another method or target in a header of
the client, an identity, and headers that the client lets a proxy remove.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Request

AUTH: Final = "/gateway/auth"
EXT_AUTHZ: Final = "/gateway/ext_authz/"
_METHOD, _URI = b"x-forwarded-method", b"x-forwarded-uri"
_IDENTITY: Final = b"x-daypass-"
_OVERRIDES: Final = frozenset(
    {b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
_OF_CONNECTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b""})


class Asked(NamedTuple):
    """The resource server that a proxy protects, and the request that it has received, without a body."""

    audience: str
    request: Request


def original_of(request: Request) -> Asked:
    """What the proxy asks about. Raises DaypassError(MALFORMED_REQUEST)."""
    path = request.raw_path.decode("latin-1")
    if path == AUTH:
        query = dict(parse_qsl(request.raw_query.decode("latin-1"), max_num_fields=4))
        audience = query.get("audience", "")
        method, target = _one(request, _METHOD), _one(request, _URI)
    else:  # Envoy: the audience, percent-encoded, stands before the path, and the rest is as the client sent it
        encoded, slash, rest = path.removeprefix(EXT_AUTHZ).partition("/")
        audience, method = unquote(encoded), request.method.encode("latin-1")
        target = (slash + rest).encode("latin-1") + (b"?" + request.raw_query if request.raw_query else b"")
    raw_path, _, raw_query = target.partition(b"?")
    _refuse_hidden(request)
    return Asked(
        audience,
        replace(
            request,
            method=method.decode("latin-1"),
            raw_path=raw_path,
            raw_query=raw_query,
            body=b"",
        ),
    )


def _one(request: Request, wanted: bytes) -> bytes:
    values = [value for name, value in request.headers if name == wanted]
    if len(values) != 1 or not values[0]:
        raise _malformed(f"The proxy must send the header {wanted.decode('ascii')} once.")
    return values[0]


def _refuse_hidden(request: Request) -> None:
    seen: set[bytes] = set()
    for name, value in request.headers:
        if name in _OVERRIDES or name.replace(b"_", b"-").startswith(_IDENTITY):
            raise _malformed(f"The header {name.decode('ascii')} is not allowed.")
        if name == b"connection" and not {one.strip().lower() for one in value.split(b",")} <= _OF_CONNECTIONS:
            raise _malformed("The header Connection may not name other headers.")
        if name in (b"authorization", b"dpop"):
            if name in seen:
                raise _malformed(f"The header {name.decode('ascii')} may be sent once.")
            seen.add(name)


def _malformed(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_REQUEST, message)
