"""Keeps the session of one role valid, and its files up to date, on a separate thread.

The session is renewed early, at a time that differs between agents. While the server is unavailable the last one is used until
it expires. Requests read `held` and never wait for the server. It must never give out an expired session.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from daypass.client import state
from daypass.client.agent import files
from daypass.client.agent.config import AgentRole, File
from daypass.client.credentials import Credentials
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError
from daypass.client.provider import CredentialProvider

Tokens = Callable[[Credentials, str], Mapping[str, Any]]
"""Gets an access token of a session for an audience: its `access_token` and `expires_in`."""

_LONGEST_PAUSE = 30.0  # seconds between two attempts to get a session
_FILE_PAUSE = 30.0  # seconds after which a file that could not be written is written again


class Keeper:
    """Keeps one role. `why`: why its last renewal failed; `problems`: why a file could not be written, by its path."""

    def __init__(
        self,
        name: str,
        role: AgentRole,
        provider: CredentialProvider,
        tokens: Tokens,
        *,
        region: str = state.REGION,
        check: float = 60.0,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.role = name, role
        self.why = ""
        self.problems: dict[str, str] = {}
        self.renewals = self.failures = 0
        self.attempted = threading.Event()  # a first attempt has ended, or the cache had a session
        self._provider, self._tokens, self._region, self._check = provider, tokens, region, check
        self._clock, self._jitter = clock, jitter
        self._held: Credentials | None = None
        self._failed_in_a_row = 0
        self._unread: set[str] = set()  # files that have changed and whose reload command has not succeeded
        self._jwt: dict[str, tuple[str, str, float]] = {}  # by audience: access key id, token, when it is renewed

    @property
    def held(self) -> Credentials | None:
        """The session, if it is valid."""
        held = self._held
        return held if held and state.is_good(held.expiration, self._clock() + held.offset) else None

    @property
    def uncached(self) -> str:
        return self._provider.uncached

    def run(self, stop: threading.Event) -> None:
        """Keeps the role until `stop` is set."""
        while not stop.is_set():
            try:
                pause = self.keep()
            except Exception as error:  # noqa: BLE001  # a fault of ours must not end the renewal
                self.why, pause = f"{type(error).__name__}: {error}"[:500], _LONGEST_PAUSE
                self.failures += 1
                self.attempted.set()
            stop.wait(pause)

    def keep(self) -> float:
        """One round: renews what is due and writes the files. The seconds until the next round."""
        pause = self._renew()
        self.attempted.set()
        held = self.held
        for file in self.role.file if held else ():
            assert held is not None
            pause = min(pause, self._write(file, held))
        return max(0.2, pause)

    def _renew(self) -> float:
        try:
            found = self._provider.recheck()
        except (ClientError, LocalStateError) as error:
            self.why = str(error)[:500]
            self.failures += 1
            self._failed_in_a_row += 1
            return min(_LONGEST_PAUSE, 2.0 ** min(8, self._failed_in_a_row - 1)) * (0.5 + self._jitter() / 2)
        if self._held is None or found.access_key_id != self._held.access_key_id:
            self.renewals += 1
        self._held, self.why, self._failed_in_a_row = found, "", 0
        return min(self._provider.due(), self._check)

    def _write(self, file: File, held: Credentials) -> float:
        """Writes a file if its content has changed. The seconds until it may change again."""
        try:
            values, left = files.values_of(held, self._region), self._check
            if file.audience:
                values["Token"], left = self._token(file.audience, held)
            if files.write(file, files.content_of(file, values)):
                self._unread.add(file.path)
            if file.reload and file.path in self._unread:
                files.reload(file.reload)
            self._unread.discard(file.path)
        except (ClientError, LocalStateError) as error:
            self.problems[file.path] = str(error)[:500]
            return _FILE_PAUSE
        self.problems.pop(file.path, None)
        return left

    def _token(self, audience: str, held: Credentials) -> tuple[str, float]:
        """An access token for an audience, and the seconds until it is renewed."""
        now = self._clock()
        of, token, renewed_at = self._jwt.get(audience, ("", "", 0.0))
        if of != held.access_key_id or renewed_at <= now:
            answer = self._tokens(held, audience)
            given, seconds = answer.get("access_token"), answer.get("expires_in")
            if not isinstance(given, str) or not given.isprintable() or not isinstance(seconds, int):
                raise ClientError("", "the server's answer holds no access token")
            token = given
            renewed_at = now + seconds * (1 - state.LARGEST_SHARE)
            self._jwt[audience] = (held.access_key_id, token, renewed_at)
        return token, max(1.0, renewed_at - now)

    def report(self) -> dict[str, Any]:
        """The state of the role, without a secret."""
        held = self.held
        return {
            "role": self.name,
            "arn": self.role.arn,
            "valid": held is not None,
            "expires": held.expiration_text() if held else "",
            "access_key_id": held.access_key_id if held else "",
            "problem": self.why,
            "files": {file.path: self.problems.get(file.path, "") for file in self.role.file},
            "uncached": self.uncached,
        }
