"""What a connection says of its client and a head of its request, before anything is verified."""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from daypass.wire.http import CLIENT_CERTIFICATE

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_IAM_SCOPE: Final = b"/iam/aws4_request"  # in the credential scope of a signed request
_HOST: Final = re.compile(rb"(?:\[[0-9A-Za-z:.%~_-]+\]|[0-9A-Za-z.~_!$&'()*+,;=%-]*)(?::[0-9]*)?")


def certificate_of(transport: asyncio.Transport) -> bytes:
    """The certificate (DER) whose key the client proved to TLS; b"" if there is none."""
    secured = transport.get_extra_info("ssl_object")
    context = transport.get_extra_info("sslcontext")
    if secured is None or context is None or context.verify_mode is ssl.CERT_NONE:
        return b""
    return secured.getpeercert(binary_form=True) or b""


def scope_of(transport: asyncio.Transport) -> dict[str, Any]:
    """What the scopes of ASGI of all requests of a connection have in common."""
    secure = is_ssl(transport)
    return {
        "type": "http",
        "asgi": _ASGI,
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "scheme": "https" if secure else "http",
        "root_path": "",
        CLIENT_CERTIFICATE: certificate_of(transport) if secure else b"",
    }


def signed_for_iam(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the request says that it is signed for IAM. It is only about its place in the queue, so nothing is verified."""
    for name, value in headers:
        if name == b"authorization":
            return _IAM_SCOPE in value
    return False


def with_head(
    scope: dict[str, Any], parser: httptools.HttpRequestParser, target: bytes, headers: list[tuple[bytes, bytes]]
) -> dict[str, Any]:
    """The scope of a connection with that of a head. Raises ValueError, so that the parser fails, when another server could
    read the head in another way.
    """
    version = parser.get_http_version()
    host = only_host(headers, version)
    path, query = (b"/", b"") if target == b"/" else split_target(target, host)
    return {
        **scope,
        "http_version": version,
        "method": parser.get_method().decode("ascii"),
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
    }


def only_host(headers: list[tuple[bytes, bytes]], version: str) -> bytes:
    """The host that the head names, in lower case; b"" if it names none. Raises ValueError when another server could read
    the head in another way (attack A108).

    A version that is not offered (attack A241), not one Host header with a host and perhaps a port, of which HTTP/1.0 needs
    none (RFC 9112, section 3.2), or a transfer coding besides chunked or in HTTP/1.0 (section 6.1).
    """
    if version not in ("1.1", "1.0"):
        raise ValueError("not offered")
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):
        raise ValueError("not one host")
    if b"transfer-encoding" in names:
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if codings != [b"chunked"] or version == "1.0":
            raise ValueError("not one framing")
    return _checked(headers[names.index(b"host")][1]) if hosts else b""


@lru_cache(maxsize=64)  # nearly always the same
def _checked(host: bytes) -> bytes:
    host = host.strip(b" \t").lower()
    if _HOST.fullmatch(host) is None:
        raise ValueError("no host")
    return host


def split_target(target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target. Raises ValueError: it is neither a path nor a URL of this host.

    A URL would replace the Host header (RFC 9112, section 3.2.2), which is what clients sign and proxies look at, so both
    must be the same (attack A391).
    """
    parsed = httptools.parse_url(target)
    if not target.startswith(b"/"):
        scheme, _, rest = target.lower().partition(b"://")
        if scheme not in (b"http", b"https") or rest.partition(b"/")[0].partition(b"?")[0] != host:
            raise ValueError("a URL of another server")
    if b"#" in target:
        raise ValueError("a fragment")
    return parsed.path or b"/", parsed.query or b""


def without_upgrade(parser: httptools.HttpRequestParser, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head that was parsed, without Upgrade. Raises HttpParserError: it asks for a tunnel."""
    method = parser.get_method()
    if method == b"CONNECT":
        raise httptools.HttpParserError("a tunnel")
    lines = b"".join(b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade")
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, parser.get_http_version().encode("ascii"), lines)
