"""The state between the pages of a sign-in: sealed, short-lived, and bound to one browser.

A ticket says which user's password was right. The next page sends it back with a code or a new password. A ticket of
one stage is not valid at another, nor in another browser, nor after the password was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import base64url, from_base64url
from daypass.domain.session import SessionClaims
from daypass.operations.assume.forms import unsealed
from daypass.ports import Env

S = TypeVar("S", bound=Struct)

CODE: Final = "code"
NEW_PASSWORD: Final = "new-password"
LIFETIME_MS: Final = 300_000
_MAX: Final = 8_192  # characters
_PURPOSE: Final = "sign-in"


class SignInTicket(Struct, frozen=True):
    """A user whose password was verified."""

    stage: str  # the page that the ticket is for: CODE or NEW_PASSWORD
    user_id: str
    browser: str  # the digest of the browser's cookie
    version: str  # that of the user's password and devices at that time
    expires_at: int  # ms
    must_change: bool = False  # whether a new password must be set before the sign-in is complete
    mfa_at: int = 0  # when an MFA code was accepted (ms); 0: not yet, or none is needed


_read_ticket = msgspec.json.Decoder(SignInTicket).decode


def seal(env: Env, purpose: str, value: Struct) -> str:
    """A value as text for a form or URL. It opens only for the same purpose."""
    sealed = env.sealer.seal_secret(msgspec.json.encode(value), "", f"{_PURPOSE}:{purpose}")
    return base64url(sealed)


def unseal(env: Env, purpose: str, unverified: str, read: Callable[[bytes], S]) -> S | None:
    """The value of `seal`; None for any other text."""
    try:
        if not 0 < len(unverified) <= _MAX:
            return None
        return read(env.sealer.open_secret(from_base64url(unverified), "", f"{_PURPOSE}:{purpose}"))
    except (ValueError, IndexError):  # also: sealed by another version of Daypass
        return None


def open_ticket(env: Env, stage: str, browser: str, unverified: str, now: int) -> SignInTicket:
    """Opens a ticket of this stage and browser. Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN."""
    ticket = unseal(env, stage, unverified, _read_ticket)
    if ticket is None or ticket.stage != stage or ticket.browser != browser:
        raise DaypassError(
            ErrorKind.INVALID_IDENTITY_TOKEN,
            "This page does not belong to a sign-in of this browser. Sign in again.",
            private={"reason": "ticket"},
        )
    if now >= ticket.expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, "This sign-in has taken too long. Sign in again.")
    return ticket


# --- The form of a browser's session: sealed, for the server's own table


class BrowserForm:
    """See `assume.forms.Form`. Nobody but the server sees it, so it is on no status list."""

    listed: ClassVar[bool] = False
    record: ClassVar[Mapping[str, Any]] = MappingProxyType({"form": "browser"})

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], str]:
        """The sealed session."""
        return unsealed(env, session)[1]


BROWSER_FORM: Final = BrowserForm()
