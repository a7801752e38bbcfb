"""Profiles with what a call needs: the secret, and a session that has not expired."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from daypass.client import state
from daypass.client.credentials import seconds_of_time
from daypass.client.errors import ClientError
from daypass.client.loopback import renew
from daypass.client.profiles import (
    LocalStateError,
    Profile,
    from_keyring,
    home,
    in_keyring,
    known,
    locked,
    of_login,
    save,
)
from daypass.client.transport import LoginServer, Transport, exchange


def with_secret(profile: Profile) -> Profile:
    """The profile with the secret that the system keyring holds for it, and a session that has not expired. Raises
    LocalStateError, and ClientError when the session of a login by browser cannot be renewed.
    """
    if not profile.login:
        return from_keyring(profile)

    return renewed(profile)


def resolve(name: str = "", endpoint: str = "", environ: Mapping[str, str] = os.environ) -> Profile:
    """The profile to use, ready for a call: see `profiles.known`. Raises LocalStateError, ClientError."""
    return with_secret(known(name, endpoint, environ))


# --- Renews the session of a login by browser with its refresh token, in one process at a time


_EARLY = 300.0  # seconds before its end at which a session is renewed
_DEADLINE = 30.0


def renewed(profile: Profile, *, transport: Transport = exchange, clock: Callable[[], float] = time.time) -> Profile:
    """The profile with its secrets and a session that has not expired.

    Raises ClientError when the server refuses, LocalStateError. While the server is unavailable, a session that is still valid is
    returned.
    """
    if _left(profile, clock()) > _EARLY:
        return from_keyring(profile)
    with locked(home() / f"login-{profile.login}.lock", _DEADLINE):
        found = of_login(profile.login)
        if found is None:
            raise LocalStateError("This login has ended: the profile is removed. Run: daypass login --browser")
        name, current = found
        stored = from_keyring(current)
        if _left(stored, clock()) > _EARLY:  # another process was faster
            return stored
        server = LoginServer(stored.endpoint, stored.ca_bundle, transport)
        try:
            session = renew(server, stored.refresh_token)
        except ClientError as error:
            if error.unavailable and _left(stored, clock()) > state.MARGIN:
                return stored
            if error.unavailable:
                raise
            raise ClientError(error.code, f"{error.message} Run: daypass login --browser", error.status) from None
        following = replace(
            stored,
            access_key_id=session.credentials.access_key_id,
            secret_access_key=session.credentials.secret_access_key,
            session_token=session.credentials.session_token,
            expiration=session.credentials.expiration_text(),
            refresh_token=session.refresh_token,
            keyring_entry="",
        )
        save(name, in_keyring(following) if stored.keyring_entry else following)
        return following


def _left(profile: Profile, now: float) -> float:
    """Seconds until the session expires."""
    return seconds_of_time(profile.expiration) - now
