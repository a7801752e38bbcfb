"""Whether a form was sent by a page of ours that this browser was shown (attack A86).

Three things must agree: Sec-Fetch-Site and Origin, which browsers set and pages cannot, and a token in the form that
is derived from the cookie. A cookie with the prefix `__Host-` cannot be set by another host.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Header

FIELD: Final = "csrf"


def token(cookie: str) -> str:
    """The token for the forms of the browser with this cookie: 64 hex digits."""
    return hashlib.sha256(b"csrf\0" + cookie.encode("utf-8", "surrogatepass")).hexdigest()


def check(headers: Iterable[Header], origin: str, cookie: str, unverified_token: str) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the form comes from our page. `origin`: ours, "https://HOST"."""
    sent: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        sent.setdefault(name, []).append(value)
    if any(value != b"same-origin" for value in sent.get(b"sec-fetch-site", ())):
        raise _refusal("sec-fetch-site")
    if any(value != origin.encode("ascii") for value in sent.get(b"origin", ())):
        raise _refusal("origin")
    same = hmac.compare_digest(token(cookie).encode("ascii"), unverified_token.encode("utf-8", "surrogatepass"))
    if not cookie or not same:
        raise _refusal("token")


def _refusal(reason: str) -> DaypassError:
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        "This form does not come from the page that this browser was shown last. Go back, reload the page and try again. "
        "Cookies must be allowed.",
        private={"reason": "csrf", "csrf": reason},
    )
