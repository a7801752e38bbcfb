"""Sessions of boto3 that renew themselves, and held sessions for long jobs.

from daypass.client.boto import boto3_session
s3 = boto3_session("111122223333/etl").client("s3")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from daypass.client import state
from daypass.client.auth import CredentialSource
from daypass.client.credentials import AssumeRole, Credentials
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError, Profile, known
from daypass.client.provider import CredentialProvider

METHOD = "daypass"


def refreshable_credentials(source: CredentialSource) -> Any:
    """Botocore's RefreshableCredentials, which ask `source` whenever they are near their end. Raises ClientError."""
    from botocore.credentials import RefreshableCredentials

    def current() -> dict[str, str]:
        held = source.get()
        return {
            "access_key": held.access_key_id,
            "secret_key": held.secret_access_key,
            "token": held.session_token,
            "expiry_time": held.expiration_text(),
        }

    return RefreshableCredentials.create_from_metadata(current(), current, METHOD)


def botocore_session(source: CredentialSource | str, *, region: str = "") -> Any:
    """A botocore session whose only credential provider is `source`: a provider, a held session, or a role.

    For a role, the profile is chosen as the command line chooses it.
    """
    import botocore.session
    from botocore.credentials import CredentialProvider as Plugin
    from botocore.credentials import CredentialResolver

    found = of_role(source) if isinstance(source, str) else source

    class Daypass(Plugin):  # type: ignore[misc]  # botocore has no types
        METHOD = METHOD

        def load(self) -> Any:
            return refreshable_credentials(found)

    session = botocore.session.get_session()
    session.register_component("credential_provider", CredentialResolver([Daypass()]))
    if region:
        session.set_config_variable("region", region)
    return session


def boto3_session(source: CredentialSource | str, *, region: str = "") -> Any:
    """A boto3 session likewise."""
    import boto3

    return boto3.Session(botocore_session=botocore_session(source, region=region))


def of_role(role: str, *, profile: str = "") -> CredentialProvider:
    """The provider of a role: its ARN, ACCOUNT/NAME, or the NAME of one of your account."""
    return CredentialProvider(known(profile), AssumeRole(role))


# --- Held


_SHORTEST = 900  # seconds of a session, AWS's minimum
_PAUSE = 5.0  # seconds after a renewal that failed


class CeilingReached(Exception):
    """The job has lasted longer than it may hold its session."""


class HeldSession:
    """A source of credentials until the ceiling. Safe to share between threads.

    Attributes:
        renewals: how often the session was replaced.
        problem: why the last renewal failed, "" if it did not.
    """

    def __init__(
        self,
        profile: Profile,
        request: AssumeRole,
        ceiling: float,
        *,
        make: Callable[..., CredentialProvider] = CredentialProvider,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if ceiling < _SHORTEST:
            raise ValueError(f"a ceiling is at least {_SHORTEST} seconds, the shortest session")
        self.profile = profile
        self.renewals, self.problem = -1, ""
        self._request, self._make, self._clock = request, make, clock
        self._duration = request.duration or 3600
        self._ends = clock() + ceiling
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._kept = False  # a thread renews
        self._provider = self._next_provider()
        self._held: Credentials | None = None

    def _next_provider(self) -> CredentialProvider:
        """The provider of sessions that end by the ceiling. Each has its own place in the cache, by its duration."""
        left = int(self._ends - self._clock())
        return self._make(self.profile, replace(self._request, duration=min(self._duration, max(_SHORTEST, left))))

    def get(self) -> Credentials:
        """Valid credentials. Raises CeilingReached, and ClientError as `CredentialProvider.get`."""
        now, held = self._clock(), self._held
        if self._stop.is_set():
            raise CeilingReached("the job has ended, and its session with it")
        if now >= self._ends:
            raise CeilingReached(
                "the job has held its session for as long as it may: raise `ceiling`, or start it again"
            )
        valid = held if held and state.is_good(held.expiration, now + held.offset) else None
        if valid and (self._kept or self._provider.due() > 0):
            return valid
        with self._mutex:
            return self._renewed()

    def _renewed(self) -> Credentials:
        provider, held = self._provider, self._held
        if held is not None and self._ends - self._clock() < self._duration and provider.due() <= 0:
            provider = self._next_provider()
        found = provider.get()
        if held is None or found.access_key_id != held.access_key_id:
            self.renewals += 1
        self._provider, self._held = provider, found
        return found

    def keep(self) -> None:
        """Renews until `close`: what the background thread does."""
        self._kept = True
        while not self._stop.is_set() and self._clock() < self._ends:
            try:
                with self._mutex:
                    self._renewed()
                self.problem, pause = "", max(1.0, self._provider.due())
            except (ClientError, LocalStateError) as error:
                self.problem, pause = str(error), _PAUSE
            self._stop.wait(pause)

    def close(self) -> None:
        """Ends the renewal, and the credentials."""
        self._stop.set()

    def boto3(self, region: str = "") -> Any:
        """A boto3 session with these credentials."""
        return boto3_session(self, region=region or self.profile.region)


@contextmanager
def held_session(
    role: str, *, ceiling: float, profile: str = "", session_name: str = "", duration: int = 3600
) -> Iterator[HeldSession]:
    """Holds a session of a role for a job, at most `ceiling` seconds. Raises ClientError at once if there is none."""
    held = HeldSession(known(profile), AssumeRole(role, session_name, duration), ceiling)
    held.get()
    thread = threading.Thread(target=held.keep, name="held-session", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.close()
        thread.join(1.0)
