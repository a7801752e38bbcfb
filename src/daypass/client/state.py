"""The location of the client's state, and reading it as plain data: profiles and cached sessions.

Scripts and SDKs run `credential-process` and `exec` all the time. A cached session is served through this module only,
so it imports little: no dataclasses, no pathlib, no HTTP. It must never write.
"""

from __future__ import annotations

import json
import os
import time
from errno import EPERM
from stat import S_ISREG, S_IWOTH

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself takes time to import
    from collections.abc import Mapping, Sequence
    from typing import Any

DEFAULT = "default"
REGION = "us-east-1"
CHOSEN = "profile"  # the file that names the profile to use
PROFILES = "profiles.json"
MARGIN = 5.0  # seconds before their expiry from which credentials are no longer returned
AWAY = 30.0  # seconds for which an unavailable server is not called again while credentials are valid
LARGEST_SHARE = 0.25  # credentials with more than this share of their lifetime left are not renewed by any process

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""The errors of reading JSON that was not written here."""

_FAR = 1e11  # seconds: no time of ours is that far from 1970, and every one below can be written as text
_TEXTS = ("access_key_id", "secret_access_key", "session_token")
_TIMES = ("expiration", "issued_at", "offset", "renew_after", "checked_at")


def directory(environ: Mapping[str, str] = os.environ) -> str:
    """The directory of profiles and cached sessions: DAYPASS_HOME, XDG_CONFIG_HOME/daypass or ~/.config/daypass."""
    if environ.get("DAYPASS_HOME"):
        return environ["DAYPASS_HOME"]
    user = environ.get("HOME") or os.path.expanduser("~")  # pathlib takes time to import
    return os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(user, ".config"), "daypass")


def read_own(path: str, environ: Mapping[str, str] = os.environ) -> str:
    """The text of a file of this user. Raises OSError, also for a file that another user owns or may write.

    Such a file could name another server, or hold a session of somebody else. Opening a named pipe would wait until somebody writes to it.
    """
    with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not S_ISREG(status.st_mode):
            raise PermissionError(EPERM, "it is not a regular file", path)
        if status.st_uid not in owners(environ):
            raise PermissionError(EPERM, "it belongs to another user", path)
        if status.st_mode & S_IWOTH:
            raise PermissionError(EPERM, "every user of this machine may write it", path)
        return file.read()


def owners(environ: Mapping[str, str] = os.environ) -> set[int]:
    """The user ids whose files are trusted: this user, root, and for root the user who called sudo."""
    user = os.geteuid()
    caller = environ.get("SUDO_UID", "") if user == 0 else ""
    return {user, 0, int(caller)} if caller.isascii() and caller.isdigit() else {user, 0}


def wanted(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The profile to use: the named one, else that of DAYPASS_PROFILE, else "" if the environment has an AWS key, else
    the one of `daypass profile use`, else `default`.
    """
    named = name or environ.get("DAYPASS_PROFILE")
    if named:
        return named
    return "" if environ.get("AWS_ACCESS_KEY_ID") else chosen(environ)


def chosen(environ: Mapping[str, str] = os.environ) -> str:
    """The profile of `daypass profile use`, or `default`."""
    try:
        return read_own(os.path.join(directory(environ), CHOSEN), environ).strip() or DEFAULT
    except (OSError, UnicodeDecodeError):
        return DEFAULT


def stored(environ: Mapping[str, str] = os.environ) -> dict[str, dict[str, Any]]:
    """The fields of every stored profile. Raises OSError, or one of UNREADABLE for a file that is not ours."""
    content = json.loads(read_own(os.path.join(directory(environ), PROFILES), environ))
    return {str(name): dict(fields) for name, fields in content["profiles"].items()}


def from_aws(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The fields of the profile that the AWS_… variables make."""
    return {
        "endpoint": (environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL") or "").rstrip("/"),
        "access_key_id": environ.get("AWS_ACCESS_KEY_ID", ""),
        "secret_access_key": environ.get("AWS_SECRET_ACCESS_KEY", ""),
        "session_token": environ.get("AWS_SESSION_TOKEN", ""),
        "region": environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or REGION,
        "ca_bundle": environ.get("AWS_CA_BUNDLE", ""),
    }


def unusable(field: str, value: object) -> str:
    """Why a profile may not hold this value, such as the line end of a careless paste; "" when it may."""
    what = f"The {field.replace('_', ' ')} of the profile"
    if not isinstance(value, str) or not value.isprintable():
        return f"{what} holds unprintable characters."
    if field != "ca_bundle" and (" " in value or not value.isascii()):
        return f"{what} holds a space or a letter with accents."
    return ""


# --- Cached sessions


def default_session_name(environ: Mapping[str, str] = os.environ) -> str:
    """The login name, in the characters that a session name may have; without one, the user id and the host's name."""
    user = environ.get("USER") or environ.get("LOGNAME") or f"uid-{os.getuid()}@{os.uname().nodename}"
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_=,.@-") else "-" for c in user)[:48]
    return name if len(name) >= 2 else f"{name}-session"


def parameters(  # noqa: PLR0913  # they are AssumeRole's
    *,
    session_name: str = "",
    duration: int = 0,
    policy: str = "",
    policy_arns: Sequence[str] = (),
    tags: Sequence[tuple[str, str]] = (),
    transitive_keys: Sequence[str] = (),
    external_id: str = "",
    source_identity: str = "",
    serial_number: str = "",
) -> dict[str, Any]:
    """AssumeRole's parameters, without the role and the MFA code, which no cache may depend on."""
    return {
        "RoleSessionName": session_name or default_session_name(),
        "DurationSeconds": duration or None,
        "Policy": policy,
        "PolicyArns": [{"arn": arn} for arn in policy_arns],
        "Tags": [{"Key": key, "Value": value} for key, value in tags],
        "TransitiveTagKeys": list(transitive_keys),
        "ExternalId": external_id,
        "SourceIdentity": source_identity,
        "SerialNumber": serial_number,
    }


def cache_name(endpoint: str, access_key_id: str, role: str, requested: Mapping[str, Any]) -> str:
    """The name of a session's file: one for each server, key, role and set of parameters (A56)."""
    from hashlib import sha256  # it loads OpenSSL

    text = json.dumps([endpoint, access_key_id, role, requested], sort_keys=True)
    return f"{sha256(text.encode()).hexdigest()[:32]}.json"


def session(path: str, endpoint: str, access_key_id: str, role: str) -> dict[str, Any] | None:
    """The fields of the session in a file; None unless it is a session of this role, made by this key at this
    server.
    """
    try:
        return session_in(read_own(path), endpoint, access_key_id, role)
    except (OSError, UnicodeDecodeError):
        return None


def session_in(text: str, endpoint: str, access_key_id: str, role: str) -> dict[str, Any] | None:
    """The fields of the session in the text of a file: see `session`."""
    try:
        found = json.loads(text)
        texts = all(type(found[name]) is str and found[name] for name in _TEXTS)
        times = all(type(found[name]) in (int, float) and -_FAR < found[name] < _FAR for name in _TIMES)
        whose = (found["endpoint"], found["source_key"], found["role"]) == (endpoint, access_key_id, role)
    except UNREADABLE:
        return None
    return dict(found) if texts and times and whose else None


def iso_time(seconds: float) -> str:
    """As AWS writes it: 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def is_good(expiration: float, now: float) -> bool:
    """Whether credentials may still be returned. `now` by the server's clock, like `expiration`."""
    return now < expiration - MARGIN


def is_early(issued_at: float, expiration: float, now: float, share: float) -> bool:
    """Whether more than a `share` of their lifetime is left, so that they are not renewed yet."""
    return expiration - now > share * max(0.0, expiration - issued_at)


def is_checked(checked_at: float, now: float, check: float | None) -> bool:
    """Whether the server accepted the session so recently that it is not checked again. `now` by our clock."""
    return check is None or -AWAY <= now - checked_at < check
