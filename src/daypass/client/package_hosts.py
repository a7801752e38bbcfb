"""Access tokens as passwords of artifact repositories: for helpers, and for pip as a backend of the package `keyring`.

`DAYPASS_CREDENTIAL_HOSTS` names the hosts that may have one, and the role for each: `registry.example.com=puller
pypi.example.com`. Without it the backend does not exist, so it never takes the place of a keyring that keeps secrets.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from daypass.client.profiles import LocalStateError

if TYPE_CHECKING:
    _Backend: Any = object
    _Credential: Any = object
else:
    try:
        from keyring.backend import KeyringBackend as _Backend
        from keyring.credentials import SimpleCredential as _Credential
    except ImportError:  # only the package itself loads the backend
        _Backend = _Credential = object

HOSTS: Final = "DAYPASS_CREDENTIAL_HOSTS"
USER: Final = "daypass"


class ExpiringToken(NamedTuple):
    """An access token, and when it ends (seconds)."""

    text: str
    expires_at: float


def token_for(audience: str, role: str = "", profile: str = "", endpoint: str = "") -> ExpiringToken:
    """A token as the profile, or as a role. Raises ClientError, LocalStateError."""
    from daypass.client.credentials import role_arn
    from daypass.client.http import Connection
    from daypass.client.loopback import access_token
    from daypass.client.usable import resolve

    connection = Connection(resolve(profile, endpoint))
    wanted = {"audience": audience, **({"role": role_arn(connection, role)} if role else {})}
    answer = access_token(connection, wanted)
    return ExpiringToken(str(answer["access_token"]), time.time() + float(answer.get("expires_in", 0)))


def token_of_host(unverified_url: str) -> ExpiringToken | None:
    """The token for the host of a URL, with or without scheme; None for a host that is not named. Raises ClientError,
    LocalStateError.
    """
    try:
        parts = urlsplit(unverified_url if "//" in unverified_url else f"//{unverified_url}")
        host = parts.netloc.rpartition("@")[2].lower()
        is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return None
    named = [each.partition("=") for each in os.environ.get(HOSTS, "").split()]
    roles = {name.lower(): role for name, _, role in named}
    if host not in roles or (parts.scheme == "http" and not is_local):
        return None
    return token_for(f"https://{host}", roles[host])


class _Priority:
    """Read from the class, as the package does."""

    def __get__(self, _instance: object, _owner: type) -> float:
        if not os.environ.get(HOSTS):
            raise RuntimeError(f"{HOSTS} is not set")
        return 0.5  # below those that keep secrets


class Keyring(_Backend):  # type: ignore[misc]  # the package has no types here
    """The backend. It gives passwords of the named hosts, and stores none."""

    priority = _Priority()

    def get_password(self, service: str, username: str) -> str | None:  # noqa: ARG002  # the token says who it is
        try:
            token = token_of_host(service)
        except LocalStateError:
            return None  # there is no profile
        return token.text if token else None

    def get_credential(self, service: str, username: str | None) -> Any:
        password = self.get_password(service, username or USER)
        return _Credential(username or USER, password) if password else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError("Daypass stores no passwords")
