"""Whether a text is a URL that can be requested. Which addresses are allowed is decided when it is requested."""

from __future__ import annotations

from urllib.parse import urlsplit

MAX_URL = 2048


def is_web_address(text: str) -> bool:
    """Whether it is an http or https URL with a host: printable ASCII without spaces."""
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
