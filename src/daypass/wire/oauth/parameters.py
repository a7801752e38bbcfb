"""Parameters that several endpoints read: audiences, scope, and single values."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import OPENID_SCOPES
from daypass.operations.oauth.authorization import OPENID
from daypass.wire.oauth.endpoint import Form

REPEATABLE: Final = frozenset({"resource", "audience"})
OFFLINE: Final = "offline_access"
"""Scopes of OpenID Connect that select claims, all voluntary, and one that asks for refresh tokens."""
_MAX_AUDIENCES: Final = 8
_AUDIENCE = re.compile(r"[!-~]{1,512}")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[!\"$-~]{1,480}")  # an absolute URI without a fragment
_TEXT = re.compile(r"[ -~]{0,512}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}(?: [!#-\[\]-~]{1,64}){0,31}")


def one(form: Form, name: str) -> str:
    """The value of a parameter; "" when it is absent."""
    return form.get(name, ("",))[0]


def required(form: Form, name: str) -> str:
    """The value of a parameter. Raises DaypassError(MISSING_PARAMETER)."""
    if name not in form:
        raise missing(name)
    return form[name][0]


def missing(name: str) -> DaypassError:
    return DaypassError(ErrorKind.MISSING_PARAMETER, f"The parameter {name} is missing.")


def is_text(value: str) -> bool:
    """Whether a value that goes back to the client is printable and not too long."""
    return _TEXT.fullmatch(value) is not None


def text_of(form: Form, name: str) -> str:
    """The value of a parameter that goes back to the client. Raises DaypassError(VALIDATION)."""
    if not is_text(text := one(form, name)):
        raise DaypassError(ErrorKind.VALIDATION, f"{name} has at most 512 printable ASCII characters.")
    return text


def audiences_of(form: Form) -> tuple[str, ...]:
    """`resource` (RFC 8707) and `audience` (RFC 8693) together. Raises DaypassError(INVALID_TARGET)."""
    resources, audiences = form.get("resource", ()), form.get("audience", ())
    chosen = tuple(dict.fromkeys((*resources, *audiences)))
    for values, pattern in ((resources, _RESOURCE), (audiences, _AUDIENCE)):
        if not all(pattern.fullmatch(value) for value in values):
            raise DaypassError(
                ErrorKind.INVALID_TARGET,
                "A resource is an absolute URI without a fragment, an audience up to 512 characters without spaces.",
            )
    if len(chosen) > _MAX_AUDIENCES:
        raise DaypassError(ErrorKind.INVALID_TARGET, f"A token has at most {_MAX_AUDIENCES} audiences.")
    return chosen


def openid_scope_of(form: Form, registered: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The scopes of OpenID Connect, () without `openid`; and the others, None without any. Raises DaypassError(INVALID_SCOPE).

    Most libraries ask for some of them. One that the client is `registered` for is a resource server's.
    """
    scope = scope_of(form) or ()
    if OPENID not in scope:
        return (), scope or None
    openid = tuple(name for name in scope if name == OPENID or name in OPENID_SCOPES - set(registered))
    return openid, tuple(name for name in scope if name not in openid) or None


def scope_of(form: Form) -> tuple[str, ...] | None:
    """`scope`; None when it is absent. Raises DaypassError(INVALID_SCOPE)."""
    if "scope" not in form:
        return None
    text = one(form, "scope")
    if not _SCOPE.fullmatch(text):
        raise DaypassError(
            ErrorKind.INVALID_SCOPE, "A scope is up to 32 names of up to 64 characters, each behind one space."
        )
    return tuple(dict.fromkeys(text.split(" ")))
