"""Profiles with what a call needs: the secret, and a session that has not expired."""

from __future__ import annotations

import os
from collections.abc import Mapping

from daypass.client.profiles import Profile, from_keyring, known


def with_secret(profile: Profile) -> Profile:
    """The profile with the secret that the system keyring holds for it, and a session that has not expired. Raises
    LocalStateError, and ClientError when the session of a login by browser cannot be renewed.
    """
    if not profile.login:
        return from_keyring(profile)
    from daypass.client.renewal import renewed  # only logins by browser need it

    return renewed(profile)


def resolve(name: str = "", endpoint: str = "", environ: Mapping[str, str] = os.environ) -> Profile:
    """The profile to use, ready for a call: see `profiles.known`. Raises LocalStateError, ClientError."""
    return with_secret(known(name, endpoint, environ))
