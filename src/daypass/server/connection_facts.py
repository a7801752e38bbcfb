"""What a connection says of its client and a head of its request, before anything is verified."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

_IAM_SCOPE: Final = b"/iam/aws4_request"  # in the credential scope of a signed request


def certificate_of(transport: asyncio.Transport) -> bytes:
    """The certificate (DER) whose key the client proved to TLS; b"" if there is none."""
    secured = transport.get_extra_info("ssl_object")
    context = transport.get_extra_info("sslcontext")
    if secured is None or context is None or context.verify_mode is ssl.CERT_NONE:
        return b""
    return secured.getpeercert(binary_form=True) or b""


def signed_for_iam(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the request says that it is signed for IAM. It is only about its place in the queue, so nothing is verified."""
    for name, value in headers:
        if name == b"authorization":
            return _IAM_SCOPE in value
    return False


def is_ambiguous(headers: list[tuple[bytes, bytes]], version: str) -> bool:
    """Whether another server could read this head in another way (attack A108).

    A version that is not offered (attack A241), not one Host header, of which HTTP/1.0 needs none (RFC 9112, section
    3.2), or a transfer coding besides chunked (section 6.1).
    """
    if version not in ("1.1", "1.0"):
        return True
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1 or (not hosts and version == "1.1"):
        return True
    if b"transfer-encoding" not in names:
        return False
    return [value.lower() for name, value in headers if name == b"transfer-encoding"] != [b"chunked"]
