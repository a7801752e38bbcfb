"""The errors of IAM Roles Anywhere, in one place."""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind

CHANGED: Final = "The resource is being changed by another request."


def no_such(kind: str, identifier: str) -> DaypassError:
    """`kind` is "TrustAnchor", "Profile", "Crl", "Subject"; the identifier is from the request."""
    return DaypassError(ErrorKind.NOT_FOUND, f"{kind} with id {identifier[:256]} was not found.")


def invalid(message: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, message)


def unsupported(what: str) -> DaypassError:
    """A member of the service model that would have no effect here is refused rather than ignored."""
    return invalid(f"{what} is not supported.")
