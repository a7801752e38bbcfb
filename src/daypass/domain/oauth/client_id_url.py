"""Client ids that are URLs of metadata documents, and the lists of those that an account accepts.

Source: draft-ietf-oauth-client-id-metadata-document, 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

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
