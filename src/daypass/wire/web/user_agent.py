"""User agents in words: "Firefox 128 on Linux". They are what the client says of itself, and prove nothing.

Source: RFC 9110, 10.1.5: products and comments, the most significant product first. Browsers begin with "Mozilla/5.0" and
name those that they are compatible with, so the first entry of the tables that is found counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_BROWSERS: Final = (
    (re.compile(r"\bEdgA?/(\d+)"), "Edge"),
    (re.compile(r"\bOPR/(\d+)"), "Opera"),
    (re.compile(r"\b(?:Firefox|FxiOS)/(\d+)"), "Firefox"),
    (re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/(\d+)"), "Chrome"),
    (re.compile(r"\bVersion/(\d+).* Safari/"), "Safari"),
)
_SYSTEMS: Final = (
    (re.compile(r"\bWindows\b()"), "Windows"),
    (re.compile(r"\b(?:iPhone|iPad)\b()"), "iOS"),
    (re.compile(r"\bAndroid\b()"), "Android"),
    (re.compile(r"\bMac OS X\b()"), "macOS"),
    (re.compile(r"\bCrOS\b()"), "ChromeOS"),
    (re.compile(r"\bLinux\b()"), "Linux"),
)
_PRODUCT: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40})/([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40})")
_READ: Final = 512  # characters of a user agent that are looked at


def user_agent_name(text: str) -> str:
    """The browser and its system, or the first product of another client; the text itself if it has neither."""
    text = text[:_READ]
    if text.startswith("Mozilla/"):
        found = (_first(text, _BROWSERS), _first(text, _SYSTEMS))
        return " on ".join(filter(None, found)) or text
    product = _PRODUCT.match(text)
    return f"{product[1]} {product[2]}" if product else text


def _first(text: str, table: Iterable[tuple[re.Pattern[str], str]]) -> str:
    found = ((pattern.search(text), name) for pattern, name in table)
    return next((f"{name} {match[1]}".rstrip() for match, name in found if match), "")
