"""Redirect URIs: which a client may register, and whether one of a request is registered (attack A66). Client ids that are
URLs.

They are compared as text, never as parts: what a browser makes of a URI is not what a parser makes of it.
Sources: RFC 6749, 3.1.2; RFC 8252, 7 and 8.4; RFC 9700, 2.1.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from daypass.domain.jws import base64url

MAX_URI: Final = 2048
_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]+")  # RFC 3986, without "#": no fragment
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?].*)?")
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::[0-9]{1,5})?((?:[/?].*)?)")
_PORT: Final = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_LABEL: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_AUTHORITY = re.compile(rf"[a-z]+://(?:{_LABEL}(?:\.{_LABEL})*|\[::1\])(?::(?:{_PORT}))?(?:[/?].*)?")
_WEB = re.compile(r"(https?)://([^/?]+)(?:[/?].*)?")
_DEFAULT_PORTS: Final = {"https": ":443", "http": ":80"}
_PRIVATE_USE = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:/(?!/).*")


def redirect_uri_fault(uri: str, *, native: bool) -> str:
    """Why a client may not register this URI; "" when it may. `native`: a client without a secret (RFC 8252)."""
    if not uri or len(uri) > MAX_URI or not _CHARACTERS.fullmatch(uri):
        return "a URI without a fragment, spaces and backslashes is expected"
    loopback = _LOOPBACK.fullmatch(uri)
    if _HTTPS.fullmatch(uri) or (loopback is not None and loopback[1] != "http://localhost"):
        return ""
    if native and (loopback is not None or _PRIVATE_USE.fullmatch(uri)):
        return ""
    return (
        "https://, http://127.0.0.1, http://[::1] or, for a public client, http://localhost or a private-use scheme is "
        "expected"
    )


def has_usable_authority(uri: str) -> bool:
    """Whether its host and port can exist. Early versions registered any digits as a port."""
    return _AUTHORITY.fullmatch(uri) is not None or _PRIVATE_USE.fullmatch(uri) is not None


def is_registered(unverified_uri: str, registered: Iterable[str]) -> bool:
    """Whether a request may name this URI: exactly a registered one. Only the port of a loopback address may differ."""
    loopback = _LOOPBACK.fullmatch(unverified_uri) if has_usable_authority(unverified_uri) else None
    for uri in registered:
        if uri == unverified_uri:
            return True
        known = _LOOPBACK.fullmatch(uri)
        if loopback is not None and known is not None and loopback.groups() == known.groups():
            return True
    return False


@lru_cache(maxsize=2048)
def web_origins(uris: tuple[str, ...]) -> frozenset[str]:
    """The origins of the pages at these URIs, as browsers write them (RFC 6454, 6.2). A loopback address counts with its
    port: programs of other people may have the other ports.
    """
    parts = [match.groups() for match in map(_WEB.fullmatch, uris) if match]
    return frozenset(f"{scheme}://{host.lower().removesuffix(_DEFAULT_PORTS[scheme])}" for scheme, host in parts)


# --- PKCE with S256, the only method here (RFC 7636; attack A67)


_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def is_challenge(text: str) -> bool:
    """Whether this has the form of a code_challenge of S256: 43 characters of base64url."""
    return _CHALLENGE.fullmatch(text) is not None


def fits(unverified_verifier: str, challenge: str) -> bool:
    """Whether a code_verifier is the one of this challenge (RFC 7636, 4.6)."""
    if not _VERIFIER.fullmatch(unverified_verifier):
        return False
    digest = hashlib.sha256(unverified_verifier.encode("ascii")).digest()
    return hmac.compare_digest(base64url(digest), challenge)


# --- Client ids that are URLs of metadata documents, and the lists of those that an account accepts


MAX_ID: Final = 512
"""Characters of a client_id that is a URL."""

_URL: Final = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?P<port>:[1-9][0-9]{0,4})?(?P<path>(?:/[A-Za-z0-9._~-]+)+/?)"
)
_PREFIX: Final = re.compile(
    r"https://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~-]+)*/\*"
)


def is_document_id(client_id: str) -> bool:
    """Whether a client_id is the URL of a document.

    The form is narrower than the draft's: lower-case host, no query, no percent-encoding, no empty and no dot segments.
    So equal URLs are equal texts, and a prefix of the text is a prefix of the path.
    """
    if len(client_id) > MAX_ID or not _URL.fullmatch(client_id):
        return False
    return not {".", ".."} & set(client_id.split("/"))


def host_of(client_id: str) -> str:
    """The host and port of a client_id of this form."""
    return client_id.removeprefix("https://").partition("/")[0]


def pattern_fault(pattern: str) -> str:
    """Why a pattern cannot be in the list; "" when it can. A pattern is a URL, or a prefix that ends in "/*"."""
    prefix = _PREFIX.fullmatch(pattern) and not {".", ".."} & set(pattern.split("/"))
    if len(pattern) <= MAX_ID and (is_document_id(pattern) or prefix):
        return ""
    return "a URL with https:// and a path is expected, or one that ends in /*"


def is_allowed(client_id: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns names this client_id."""
    return any(client_id.startswith(p[:-1]) if p.endswith("/*") else client_id == p for p in patterns)
