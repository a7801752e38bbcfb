"""The settings of a verifier."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from daypass.client.profiles import LocalStateError, Profile


class WhenBehind(Enum):
    """A verifier's treatment of tokens when its revocations are older than the limit."""

    REFUSE = "refuse"
    INTROSPECT = "introspect"  # ask the server; refuse when it cannot be asked


@dataclass(frozen=True, slots=True)
class VerifierSettings:
    """Settings of a verifier."""

    issuer: str  # the installation's `server.public_url`
    audience: str  # the audience that tokens must have
    # The server and the credentials for the stream and for introspection, or a function that returns them whenever they
    # are needed, for credentials that are renewed. They need daypass:FollowRevocations.
    profile: Profile | Callable[[], Profile]
    # The accounts that the service serves: their tokens are accepted, and their revocations followed. Tokens of others
    # are refused. () is the account of the credentials, ("*",) every account.
    accounts: tuple[str, ...] = ()
    limit_seconds: float = 5.0  # how old the known revocations may be
    when_behind: WhenBehind = WhenBehind.REFUSE  # what happens beyond that
    leeway_seconds: float = 30.0  # by how much the clocks of issuer and verifier may differ, for `iat` and `nbf`
    # How old a status list may be. Lists are used for tokens whose chain includes other accounts.
    list_seconds: float = 30.0
    tokens: int = 10_000  # how many verified tokens to remember
    # Scheme and host of the service ("https://api.example.com"), as clients name it in DPoP proofs; "" for those of the
    # audience.
    origin: str = ""

    def current_profile(self) -> Profile:
        """The profile to use now. Raises LocalStateError when the function does not return one, whatever it raises."""
        if not callable(self.profile):
            return self.profile
        try:
            return self.profile()
        except Exception as error:
            raise LocalStateError(f"the credentials of the verifier cannot be loaded: {error}") from error


# --- A clock for ages: it never goes back, and it also counts the time in which the machine is suspended


# On Linux and macOS `time.monotonic` stands still while the machine sleeps, and what was known before would look current.
# There, CLOCK_MONOTONIC counts that time in macOS, and CLOCK_BOOTTIME in Linux.
_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def elapsed() -> float:
    """Seconds since some moment."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
