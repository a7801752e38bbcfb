"""HTTP as the wire packages see it: a request with its body, a response without a socket. It never parses a body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

Header = tuple[bytes, bytes]

XML: Final = b"text/xml"

CLIENT_CERTIFICATE = "daypass.client_certificate"
"""Key of the ASGI scope for the certificate (DER) that the peer showed and TLS verified."""


class Request(NamedTuple):
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
    peer_certificate: bytes = b""  # DER, verified by TLS: the client's, or a proxy's
    via_proxy: bool = False  # the peer is a proxy that we were told to trust


class Response(NamedTuple):
    """An answer. `operation` and `code` are for metrics: "sts:AssumeRole" or a route's name; "" or an error code."""

    status: int
    body: bytes
    content_type: bytes = XML
    headers: tuple[Header, ...] = ()
    operation: str = ""
    code: str = ""


Handler = Callable[[Request], Awaitable[Response]]
