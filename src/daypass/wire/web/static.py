"""Static files of the pages. The digest of a file is part of its address, so browsers may cache it for ever."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Header, Request, Response

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
    """By name. Read once, at the first page."""
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
