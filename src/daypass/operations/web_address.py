"""The check of a URL that the server will request, when it is written."""

from __future__ import annotations

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Env, OutboundFailed


def check_web_address(env: Env, what: str, url: str) -> None:
    """Raises DaypassError(VALIDATION) for a URL that can never be requested. `what`: how the caller calls it, "The target".

    The addresses of a name are checked at each request: they can change.
    """
    try:
        env.outbound.check(url)
    except OutboundFailed as error:
        raise DaypassError(
            ErrorKind.VALIDATION,
            f"{what} cannot be requested: {error}. The operator names hosts of private networks in access.private_hosts.",
        ) from None
