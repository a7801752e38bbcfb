"""Keeps a role's credentials valid: cached on disk, locked across processes, renewed before they expire.

Cached credentials are used until they expire, also while the server is unavailable (A92). They are renewed when a fifth
of their lifetime is left, at a time that differs between processes (F1). While they are valid, no caller waits for a
renewal. With `check`, the server is asked whether it still accepts a cached session, so that a revoked one is replaced.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from daypass.client import state
from daypass.client.credentials import AssumeRole, Credentials, assume_role, session_profile
from daypass.client.errors import ClientError
from daypass.client.profiles import Busy, LocalStateError, Profile, Unwritable, home, locked, write_private
from daypass.client.usable import with_secret

if TYPE_CHECKING:
    from daypass.client.http import Connection

_SHORT = 2.0  # seconds that a renewal or a check may take while credentials are valid
_USUAL = 20.0


class Seal(Protocol):
    """Encrypts what is cached. `name`: the file to which the text belongs."""

    def close(self, text: str, name: str) -> str: ...

    def open(self, sealed: str, name: str) -> str:
        """Raises ValueError for text that was not sealed with this key for this file."""
        ...


class CredentialProvider:
    """Provides valid credentials. Safe to share between threads and, through its cache, processes."""

    def __init__(  # noqa: PLR0913  # few callers give many of them
        self,
        profile: Profile,
        request: AssumeRole,
        *,
        connect: Callable[[], Connection] | None = None,
        code: Callable[[], str] | None = None,
        check: float | None = None,
        cache: Path | None = None,
        seal: Seal | None = None,
        issue: Callable[[float], Credentials] | None = None,
        clock: Callable[[], float] = time.time,
        lock_deadline: float = 30.0,
    ) -> None:
        """Cached for this server, key and request.

        Args:
            connect: opens the connection, when one is needed.
            code: asks for an MFA code; called for a request with a `serial_number`, each time a session is issued.
            check: seconds after which the server is asked again whether it accepts the cached session; None: never.
            cache: the directory of the cache. `lock_deadline`: seconds to wait for another process.
            seal: encrypts the cache; None: its mode alone protects it.
            issue: issues a session within these seconds, by another call than AssumeRole as the profile.
        """
        self._profile = profile
        self._connect = connect or self._default_connection
        self._connected: Connection | None = None
        self._request = request
        self._code = code
        self._check = check
        self._clock = clock
        self._lock_deadline = lock_deadline
        self._seal = seal
        self._issue = issue or self._assume_role
        name = state.cache_name(profile.endpoint, profile.access_key_id, request.role, request.parameters())
        self.file = (cache or home() / "cache") / name
        self.uncached = ""  # why the last session is not in the cache
        self._held: Credentials | None = None
        self._mutex = threading.Lock()
        self._share = state.LARGEST_SHARE - 0.05 * random.random()  # noqa: S311  # jitter, not a secret

    def _default_connection(self) -> Connection:
        from daypass.client.http import Connection  # not needed while the cache is good

        return Connection(self._profile)

    @property
    def _connection(self) -> Connection:
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    def get(self, *, fresh: bool = False) -> Credentials:
        """Valid credentials, also where the cache cannot be written: `uncached` says why. Raises ClientError when the server refuses, or is unavailable and the cache holds none.

        `fresh`: ignores the cache, because its session may have been revoked.
        """
        if fresh:
            with self._mutex, self._exclusive(self._lock_deadline):
                self._held = self._stored(self._issued(hurry=False))
                return self._held
        credentials = self._held
        if credentials and self._fresh(credentials):
            return credentials
        if not self._mutex.acquire(blocking=not (credentials and self._good(credentials))):
            assert credentials is not None  # another thread is renewing them, and these are still valid
            return credentials
        try:
            self._held = self._current()
            return self._held
        finally:
            self._mutex.release()

    def due(self) -> float:
        """Seconds until `get` renews the session; 0 when there is none."""
        held = self._held
        if held is None:
            return 0.0
        end = held.expiration
        renewal = end - state.MARGIN if self._request.serial_number else end - self._share * (end - held.issued_at)
        return max(0.0, min(max(renewal, held.renew_after), end - state.MARGIN) - self._now(held))

    def recheck(self) -> Credentials:
        """As `get`, but the server is asked even if the session is fresh, once `check` seconds have passed."""
        with self._mutex:
            self._held = self._current()
            return self._held

    def _current(self) -> Credentials:
        cached = self._read()
        if cached and self._fresh(cached):
            return cached if self._accepted(cached) else self._replaced(cached)
        try:
            with self._exclusive(0.0 if cached else self._lock_deadline):
                return self._cached_or_new()
        except Busy:
            if cached:
                return cached
            raise

    @contextmanager
    def _exclusive(self, deadline: float) -> Iterator[None]:
        """One process at a time. If no lock can be written, no process can cache a session either. Raises Busy."""
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.file.with_suffix(".lock"), deadline))
            except Unwritable as error:
                self.uncached = str(error)
            yield

    def _cached_or_new(self) -> Credentials:
        cached = self._read()
        if cached and self._fresh(cached):  # another process was faster
            return cached
        try:
            issued = self._issued(hurry=cached is not None)
        except ClientError as error:
            if not (cached and error.unavailable):
                raise
            issued = replace(cached, renew_after=self._now(cached) + state.AWAY)
        return self._stored(issued)

    def _accepted(self, cached: Credentials) -> bool:
        """Whether the server accepts a cached session; also true when it cannot answer now."""
        if self._check is None or state.is_checked(cached.checked_at, self._clock(), self._check):
            return True
        session = session_profile(self._profile, cached)
        checked_at = self._clock()
        try:
            replace(self._connection, profile=session, deadline=_SHORT).sts("GetCallerIdentity")
        except ClientError as error:
            if error.ended:
                return False
            if error.unavailable:
                checked_at += max(0.0, state.AWAY - self._check)
        self._stored(replace(cached, checked_at=checked_at))
        return True

    def _replaced(self, dead: Credentials) -> Credentials:
        """Replaces a session that the server no longer accepts. Requested once."""
        with self._exclusive(self._lock_deadline):
            cached = self._read()
            if cached and cached.access_key_id != dead.access_key_id:  # another process was faster
                return cached
            self._held = None
            with suppress(OSError):
                self.file.unlink(missing_ok=True)
            return self._stored(self._issued(hurry=False))

    def _stored(self, issued: Credentials) -> Credentials:
        try:
            text = json.dumps(asdict(issued))
            write_private(self.file, self._seal.close(text, self.file.name) if self._seal else text)
        except Unwritable as error:
            self.uncached = str(error)
        return issued

    def _issued(self, *, hurry: bool) -> Credentials:
        now, profile = self._clock(), self._profile
        issued = self._issue(_SHORT if hurry else _USUAL)
        return replace(
            issued, checked_at=now, role=self._request.role, source_key=profile.access_key_id, endpoint=profile.endpoint
        )

    def _assume_role(self, seconds: float) -> Credentials:
        code = self._mfa_code() if self._request.serial_number else ""
        self._connection.profile = with_secret(self._connection.profile)
        usual = self._connection.deadline
        self._connection.deadline = min(usual, seconds)
        try:
            return assume_role(self._connection, self._request, self._clock(), code)
        finally:
            self._connection.deadline = usual

    def _mfa_code(self) -> str:
        if self._code is None:
            raise LocalStateError(f"{self._request.role} needs a code of {self._request.serial_number}.")
        return self._code()

    def _now(self, credentials: Credentials) -> float:
        return self._clock() + credentials.offset

    def _good(self, credentials: Credentials) -> bool:
        return state.is_good(credentials.expiration, self._now(credentials))

    def _fresh(self, credentials: Credentials) -> bool:
        now = self._now(credentials)
        if self._request.serial_number:  # a renewal would prompt the user, so it waits until it is necessary
            return self._good(credentials)
        early = state.is_early(credentials.issued_at, credentials.expiration, now, self._share)
        return early or (now < credentials.renew_after and self._good(credentials))

    def _read(self) -> Credentials | None:
        """The cached session, if valid, else the one in memory. An unreadable file counts as absent."""
        profile = self._profile
        fields = self._session_in_file(profile.endpoint, profile.access_key_id)
        try:
            credentials = Credentials(**fields) if fields else self._held
        except TypeError:  # it has a field of another version
            credentials = self._held
        return credentials if credentials and self._good(credentials) else None

    def _session_in_file(self, endpoint: str, key: str) -> dict[str, Any] | None:
        if self._seal is None:
            return state.session(str(self.file), endpoint, key, self._request.role)
        try:
            text = self._seal.open(state.read_own(str(self.file)), self.file.name)
        except (OSError, ValueError):
            return None
        return state.session_in(text, endpoint, key, self._request.role)
