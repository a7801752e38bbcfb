"""The CSRF token of the page that offers roles: a cookie and a field of its form that must be equal.

The page is the answer to a form of the identity provider, so no session exists to which it could be bound. A page elsewhere can
post a form to us, but it can neither read nor set our cookie: a choice comes only from the browser that was offered it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Header
from daypass.wire.web.cookies import only_value

FIELD: Final = "csrf"
_SECONDS: Final = 300  # as long as the choice itself is valid
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/=_-]{32,128}")


def cookie(token: str, *, secure: bool) -> Header:
    """The header that gives the browser the token. `secure`: the pages are served by HTTPS."""
    where = f"{_name(secure=secure)}={token}; Path=/; Max-Age={_SECONDS}; HttpOnly; SameSite=Strict"
    return b"set-cookie", (where + ("; Secure" if secure else "")).encode("ascii")


def check(headers: Iterable[Header], field: str, *, secure: bool) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the form's field is the token in the browser's cookie."""
    found = only_value(headers, _name(secure=secure))
    same = hmac.compare_digest(found.encode("latin-1"), field.encode("utf-8"))
    if not same or not _TOKEN.fullmatch(found):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            "This choice does not come from the page that this browser was shown last. Log in again, with cookies allowed.",
        )


def _name(*, secure: bool) -> str:
    """With the prefix, browsers accept the cookie only from this host, and only over HTTPS."""
    return "__Host-daypass-saml" if secure else "daypass-saml"
