"""Borrow a role and keep it fresh: cached on disk, locked across processes, renewed ahead of expiry.

Credentials in the cache serve until they expire, also while the server is away (A92); they are renewed when a fifth of
their life is left, at a moment that differs between processes (F1).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import threading
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from daypass.client.http import ClientError, Connection
from daypass.client.profiles import LocalStateError, Profile, home, write_private


@dataclass(frozen=True, slots=True)
class Credentials:
    """A session's credentials. `expiration` is in seconds since the epoch."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: float
    issued_at: float = 0.0

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, expiration={self.expiration})"

    def expiration_text(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expiration))


@dataclass(frozen=True, slots=True)
class AssumeRole:
    """What to ask for; the fields are AssumeRole's parameters."""

    role_arn: str
    session_name: str = ""
    duration: int = 0
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive_keys: tuple[str, ...] = ()
    external_id: str = ""
    source_identity: str = ""

    def parameters(self) -> dict[str, Any]:
        return {
            "RoleArn": self.role_arn,
            "RoleSessionName": self.session_name or default_session_name(),
            "DurationSeconds": self.duration or None,
            "Policy": self.policy,
            "PolicyArns": [{"arn": arn} for arn in self.policy_arns],
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags],
            "TransitiveTagKeys": list(self.transitive_keys),
            "ExternalId": self.external_id,
            "SourceIdentity": self.source_identity,
        }


def default_session_name() -> str:
    """The login name, in the characters that a session name may have."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "session"
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_=,.@-") else "-" for c in user)[:48]
    return name if len(name) >= 2 else f"{name}-session"


class CredentialProvider:
    """Gives credentials that are good now. Safe to share between threads and, through its cache, processes."""

    def __init__(
        self,
        profile: Profile,
        request: AssumeRole,
        *,
        connection: Connection | None = None,
        cache: Path | None = None,
        clock: Callable[[], float] = time.time,
        lock_deadline: float = 30.0,
    ) -> None:
        self._connection = connection or Connection(profile)
        self._request = request
        self._clock = clock
        self._lock_deadline = lock_deadline
        key = json.dumps([profile.endpoint, profile.access_key_id, asdict(request)], sort_keys=True)
        directory = cache or home() / "cache"
        self._file = directory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        self._held: Credentials | None = None
        self._mutex = threading.Lock()
        self._share = 0.2 + 0.05 * random.random()  # noqa: S311  # jitter, not a secret

    def get(self) -> Credentials:
        """Good credentials. Raises ClientError when the server refuses or is away and the cache holds none."""
        with self._mutex:
            if self._held and self._fresh(self._held):
                return self._held
            with _locked(self._file.with_suffix(".lock"), self._lock_deadline):
                self._held = self._cached_or_new()
            return self._held

    def _cached_or_new(self) -> Credentials:
        cached = self._read()
        if cached and self._fresh(cached):
            return cached
        try:
            issued = assume_role(self._connection, self._request, self._clock())
        except ClientError as error:
            away = error.status == 0 or error.status >= 500  # noqa: PLR2004  # HTTP's server errors
            if away and cached and self._clock() < cached.expiration - 5:
                return cached
            raise
        write_private(self._file, json.dumps(asdict(issued)))
        return issued

    def _fresh(self, found: Credentials) -> bool:
        left = found.expiration - self._clock()
        return left > self._share * max(0.0, found.expiration - found.issued_at)

    def _read(self) -> Credentials | None:
        try:
            found = Credentials(**json.loads(self._file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found if self._clock() < found.expiration else None


def assume_role(connection: Connection, request: AssumeRole, now: float) -> Credentials:
    """One AssumeRole call."""
    return read_credentials(connection.sts("AssumeRole", **request.parameters()), now)


def read_credentials(result: ET.Element, now: float) -> Credentials:
    """The Credentials element of an STS answer."""
    found = {e.tag: e.text or "" for e in result.iter()}
    try:
        expiration = timegm(time.strptime(found["Expiration"][:19], "%Y-%m-%dT%H:%M:%S"))
        return Credentials(
            found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], float(expiration), now
        )
    except (KeyError, ValueError):
        raise ClientError("", "the server's answer holds no credentials") from None


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """One process at a time; waits at most `deadline` seconds, so that a stuck holder cannot hang us."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LocalStateError(f"{path.parent} cannot be written: {error.strerror}.") from None
    try:
        ends = time.monotonic() + deadline
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise LocalStateError("another process has held the credentials cache for too long.") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)
