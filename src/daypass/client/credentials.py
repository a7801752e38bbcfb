"""Borrow a role and keep it fresh: cached on disk, locked across processes, renewed ahead of expiry.

Credentials in the cache serve until they expire, also while the server is away (A92); they are renewed when a fifth of
their life is left, at a moment that differs between processes (F1). While they are good, nobody waits for a renewal.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from daypass.client.http import ClientError, Connection, Members
from daypass.client.profiles import Busy, Profile, home, locked, write_private

_MARGIN = 5.0  # seconds before their expiry at which credentials are not given out any more
_AWAY = 30.0  # seconds for which a server that was away is not asked again, while credentials are good
_SHORT = 3.0  # seconds that a renewal may take while credentials are good


@dataclass(frozen=True, slots=True)
class Credentials:
    """A session's credentials. `expiration` is in seconds since the epoch, by the server's clock."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: float
    issued_at: float = 0.0  # by the server's clock
    offset: float = 0.0  # the server's clock minus ours, when they were issued
    renew_after: float = 0.0  # not before then, because the server was away; by the server's clock

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, expiration={self.expiration})"

    def expiration_text(self) -> str:
        """As AWS writes it: 2026-01-31T12:00:00Z."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expiration))


@dataclass(frozen=True, slots=True)
class AssumeRole:
    """What to ask for; the fields are AssumeRole's parameters. `role` is an ARN, ACCOUNT/NAME, or a NAME of one's own
    account.
    """

    role: str
    session_name: str = ""
    duration: int = 0
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive_keys: tuple[str, ...] = ()
    external_id: str = ""
    source_identity: str = ""

    def parameters(self) -> dict[str, Any]:
        """The call's parameters, but for the role."""
        return {
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
        asked = [profile.endpoint, profile.access_key_id, request.role, request.parameters()]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        self._file = (cache or home() / "cache") / f"{key}.json"
        self._held: Credentials | None = None
        self._mutex = threading.Lock()
        self._share = 0.2 + 0.05 * random.random()  # noqa: S311  # jitter, not a secret

    def get(self, *, fresh: bool = False) -> Credentials:
        """Good credentials. Raises ClientError when the server refuses, or is away and the cache holds none.

        `fresh`: new ones, whatever the cache holds: the session in it may have been revoked.
        """
        if fresh:
            with self._mutex, locked(self._file.with_suffix(".lock"), self._lock_deadline):
                self._held = self._stored(self._issued(hurry=False))
                return self._held
        held = self._held
        if held and self._fresh(held):
            return held
        if not self._mutex.acquire(blocking=not (held and self._good(held))):
            assert held is not None  # another thread is renewing them, and these still serve
            return held
        try:
            self._held = self._current()
            return self._held
        finally:
            self._mutex.release()

    def _current(self) -> Credentials:
        cached = self._read()
        if cached and self._fresh(cached):
            return cached
        try:
            with locked(self._file.with_suffix(".lock"), 0.0 if cached else self._lock_deadline):
                return self._cached_or_new()
        except Busy:
            if cached:
                return cached
            raise

    def _cached_or_new(self) -> Credentials:
        cached = self._read()
        if cached and self._fresh(cached):  # another process was faster
            return cached
        try:
            issued = self._issued(hurry=cached is not None)
        except ClientError as error:
            if not (cached and error.away):
                raise
            issued = replace(cached, renew_after=self._now(cached) + _AWAY)
        return self._stored(issued)

    def _stored(self, issued: Credentials) -> Credentials:
        write_private(self._file, json.dumps(asdict(issued)))
        return issued

    def _issued(self, *, hurry: bool) -> Credentials:
        usual = self._connection.deadline
        if hurry:
            self._connection.deadline = min(usual, _SHORT)
        try:
            return assume_role(self._connection, self._request, self._clock())
        finally:
            self._connection.deadline = usual

    def _now(self, found: Credentials) -> float:
        return self._clock() + found.offset

    def _good(self, found: Credentials) -> bool:
        return self._now(found) < found.expiration - _MARGIN

    def _fresh(self, found: Credentials) -> bool:
        now = self._now(found)
        left = found.expiration - now
        early = left > self._share * max(0.0, found.expiration - found.issued_at)
        return early or (now < found.renew_after and self._good(found))

    def _read(self) -> Credentials | None:
        """What the cache holds, if it is good. A file that is not ours to read is as none at all."""
        try:
            found = Credentials(**json.loads(self._file.read_text("utf-8")))
            texts = (found.access_key_id, found.secret_access_key, found.session_token)
            times = (found.expiration, found.issued_at, found.offset, found.renew_after)
            if not all(type(t) is str and t for t in texts) or not all(type(t) in (int, float) for t in times):
                return None
            return found if self._good(found) else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None


def assume_role(connection: Connection, request: AssumeRole, now: float) -> Credentials:
    """One AssumeRole call. `now` is our clock's time, in seconds."""
    arn = role_arn(connection, request.role)
    result = connection.sts("AssumeRole", RoleArn=arn, **request.parameters())
    return read_credentials(result, now, connection.offset)


def role_arn(connection: Connection, role: str) -> str:
    """The ARN of `role`: an ARN, ACCOUNT/NAME, or the NAME of a role in one's own account, which costs a call."""
    if role.startswith("arn:"):
        return role
    account, slash, name = role.partition("/")
    if slash and len(account) == 12 and account.isascii() and account.isdigit():
        return f"arn:aws:iam::{account}:role/{name}"
    return f"arn:aws:iam::{identity(connection)['Account']}:role/{role}"


def identity(connection: Connection) -> Members:
    """GetCallerIdentity's members: Arn, Account, UserId."""
    return Members((e.tag, e.text or "") for e in connection.sts("GetCallerIdentity"))


def read_credentials(result: ET.Element, now: float, offset: float = 0.0) -> Credentials:
    """The Credentials element of an STS answer that came at `now` by our clock."""
    found = {e.tag: e.text or "" for e in result.iter()}
    try:
        expiration = timegm(time.strptime(found["Expiration"][:19], "%Y-%m-%dT%H:%M:%S"))
        texts = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    except (KeyError, ValueError):
        raise ClientError("", "the server's answer holds no credentials") from None
    return Credentials(*texts, float(expiration), now + offset, offset)
