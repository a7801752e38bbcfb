"""HTTP requests and responses for the wire packages, independent of a socket. It never parses a body."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Self

from msgspec import Struct

from daypass.domain.arn import Source, network_of

Header = tuple[bytes, bytes]

XML: Final = b"text/xml"

CLIENT_CERTIFICATE = "daypass.client_certificate"
"""Key of the ASGI scope for the certificate (DER) that the peer presented and TLS verified."""

WHOLE_BODY = "daypass.body"
"""Key of the scope for a body that arrived before the application was called; `receive` does not return it again.
The code that sets it has checked the body against the declared Content-Length and Transfer-Encoding.
"""

WHOLE_ANSWER = "daypass.answer"
"""Key of the scope for a function that sends the response at once, or returns False, in which case use `send`.

Its arguments are the status, the header lines as they go over the wire, and the body. The lines hold the
Content-Length, no other framing, and no text from a caller, because they are not checked.
"""

LATE = "daypass.late"
"""Key of the scope of a request that has waited too long for its turn. It is refused (503) without being read."""

OVERDUE = "daypass.overdue"
"""Key of the scope of a request whose task was cancelled because it has taken too long: it is refused (503)."""

HOLD = "daypass.hold"
"""Key of the scope for seconds that the application sets: so long the next request of the connection does not begin, nor
do those of new connections of the same address.
"""

REQUEST = "daypass.request"
"""Key of the scope of a mounted application for the `Request`, with its body."""


class FixedHeaders(tuple[Header, ...]):  # noqa: SLOT001 - a tuple can have no slots
    """Headers that are the same in many responses. They are checked here and not when they are sent, and `lines` is their
    form on the wire.
    """

    lines: bytes

    def __new__(cls, *headers: Header) -> Self:
        """The headers in their order. Raises ValueError for a control character in one."""
        made = super().__new__(cls, headers)
        made.lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        if made.lines.count(b"\r") != len(headers) or made.lines.count(b"\n") != len(headers) or b"\0" in made.lines:
            raise ValueError("a header of the answer holds a control character")
        return made


class Request(Struct, frozen=True):
    """One request, complete. Header names are in lower case; path and query are as sent, still percent-encoded."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: list[Header]
    body: bytes
    source_ip: str
    secure: bool
    request_id: str
    received_at: int  # ms
    peer_certificate: bytes = b""  # DER; its holder has proved the key to TLS: the client, or a proxy
    via_proxy: bool = False  # the peer is a trusted proxy

    @property
    def source(self) -> Source:
        """The network of the sender."""
        return Source(network_of(self.source_ip))


class Response(Struct, frozen=True):
    """An answer. `operation` and `code` are for metrics: "sts:AssumeRole" or a route's name; "" or an error code. `hold`:
    seconds before the next request of the connection begins.
    """

    status: int
    body: bytes
    content_type: bytes = XML
    headers: tuple[Header, ...] = ()
    operation: str = ""
    code: str = ""
    hold: int = 0


def only_value(headers: Iterable[Header], wanted: bytes) -> bytes:
    """The value of a header that is sent once; b"" when it is absent, empty, or sent several times."""
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else b""


def media_type(headers: Iterable[Header]) -> bytes:
    """The media type of the body, without parameters and in lower case; b"" when there is not exactly one."""
    return only_value(headers, b"content-type").partition(b";")[0].strip().lower()


def entity_tag(body: bytes) -> bytes:
    """A strong validator for these bytes (RFC 9110, 8.8.3)."""
    return b'"' + hashlib.sha256(body).hexdigest()[:32].encode("ascii") + b'"'


def has_entity(request: Request, tag: bytes) -> bool:
    """Whether the client has the entity with this tag (RFC 9110, 13.1.2): the answer is then 304."""
    known = b",".join(value for name, value in request.headers if name == b"if-none-match")
    tags = {part.strip().removeprefix(b"W/") for part in known.split(b",")}
    return tag in tags or b"*" in tags


def public_document(
    request: Request, body: bytes, media_type: bytes, seconds: int, tag: bytes = b"", operation: str = ""
) -> Response:
    """A document that every cache may store for `seconds`, and every browser may read; 304 for a client that has it.

    `tag`: its entity tag, if it is not that of its bytes.
    """
    tag = tag or entity_tag(body)
    headers: tuple[Header, ...] = (
        (b"etag", tag),
        (b"cache-control", b"public, max-age=%d" % seconds),
        (b"access-control-allow-origin", b"*"),
        (b"x-content-type-options", b"nosniff"),
    )
    if has_entity(request, tag):
        return Response(304, b"", media_type, headers, operation)
    return Response(200, body, media_type, headers, operation)


Handler = Callable[[Request], Awaitable[Response]]


# --- Which media types a request accepts (RFC 9110, 12.5.1)


_QUALITY = re.compile(rb"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def accepted(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, float]:
    """The weight of each media range in the Accept headers, in lower case. 0: it is not acceptable."""
    qualities: dict[bytes, float] = {}
    for name, value in headers:  # every request runs this, and most have no such header
        if name == b"accept":
            qualities |= _qualities(value.lower())
    return qualities


def _qualities(accept: bytes) -> dict[bytes, float]:
    """The weight of each media range of an Accept header."""
    qualities: dict[bytes, float] = {}
    for item in accept.split(b","):
        media_type, *parameters = item.split(b";")
        qualities[media_type.strip()] = _quality(parameters)
    return qualities


def _quality(parameters: Iterable[bytes]) -> float:
    """The weight of a media range: 1 without a `q`, 0 for one that cannot be read."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            return float(value) if _QUALITY.fullmatch(value.strip()) else 0.0
    return 1.0
