"""`prompt`, and `credential-process` and `exec` when the cache holds a good session that was checked just now: no parser,
no HTTP.

SDKs run these commands again and again. Unusual cases are left to the commands themselves, which decide in the same
way: this module only serves what they would serve from the cache.
"""

from __future__ import annotations

import json
import os
import sys
import time
from calendar import timegm

from daypass.cli import argv, environment
from daypass.cli.durations import left
from daypass.client import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

CHECK_SECONDS = 5.0
"""A cached session that the server accepted so recently is not checked again; as old as a verifier's view may be."""

_LOOKED_AT = 20  # files of the cache, the newest ones


def run(arguments: Sequence[str]) -> int | None:
    """Runs the command if it can be served from the cache; its exit status. None: click must run it."""
    name, *rest = arguments
    if name == "prompt":
        if rest:
            return None
        if shown := prompt():
            sys.stdout.write(f"{shown}\n")
        return 0
    own = argv.own(rest, argv.PLAIN) if name == "exec" else len(rest)
    command = rest[own + 1 :] if rest[own : own + 1] == ["--"] else rest[own:]
    line = argv.plain(rest[:own])
    if line is None or (name == "exec" and not any(command[:1])):
        return None
    role, options = line
    profile = _profile(options)
    cached = _cached(role, options, profile) if profile else None
    if profile is None or cached is None:
        return None
    form = environment.process_form(cached)
    if name == "exec":
        return _become(command, environment.of_role(form, profile, role))
    sys.stdout.write(json.dumps(form) + "\n")
    sys.stdout.flush()
    return 0


def _profile(options: Mapping[str, str]) -> dict[str, str] | None:
    """The fields of the profile in use; None when something about them must be reported."""
    name = state.wanted(options.get("--profile", ""))
    try:
        fields: dict[str, Any] = state.stored()[name] if name else state.from_aws()
    except (OSError, *state.UNREADABLE):
        return None
    if "--endpoint" in options:
        fields["endpoint"] = options["--endpoint"].rstrip("/")
    fields = {"region": state.REGION, "ca_bundle": "", "mfa_serial": "", **fields}
    if any(state.unusable(field, value) for field, value in fields.items()) or not fields.get("endpoint"):
        return None
    if not name and not fields["secret_access_key"]:
        return None
    return fields if fields.get("access_key_id") else None


def _cached(role: str, options: Mapping[str, str], profile: Mapping[str, str]) -> dict[str, Any] | None:
    """The session in the cache, if it would be served without a call by whichever process reads it."""
    duration: int | None = 0
    if "--duration" in options:
        from daypass.cli.durations import seconds_of  # not needed by most

        duration = seconds_of(options["--duration"])
    if duration is None:
        return None
    serial = options.get("--mfa-serial") or profile["mfa_serial"]
    asked = state.parameters(
        session_name=options.get("--session-name", ""),
        duration=duration,
        external_id=options.get("--external-id", ""),
        source_identity=options.get("--source-identity", ""),
        serial_number=serial,
    )
    file = state.cache_name(profile["endpoint"], profile["access_key_id"], role, asked)
    path = os.path.join(state.directory(), "cache", file)  # noqa: PTH118  # pathlib takes time to import
    cached = state.session(path, profile["endpoint"], profile["access_key_id"], role)
    now = time.time()
    if cached is None or not state.is_checked(cached["checked_at"], now, CHECK_SECONDS):
        return None
    now += cached["offset"]
    early = bool(serial) or state.is_early(cached["issued_at"], cached["expiration"], now, state.LARGEST_SHARE)
    return cached if early and state.is_good(cached["expiration"], now) else None


# --- `daypass prompt`


def prompt(environ: Mapping[str, str] = os.environ) -> str:
    """The role in use and the time left, for a shell's prompt; "" without a session. It reads the environment that `exec`
    and `assume` set, or else the cached session of the profile that was used last.
    """
    now = time.time()
    if environ.get("DAYPASS_ROLE"):
        try:
            ends = timegm(time.strptime(environ.get("AWS_CREDENTIAL_EXPIRATION", ""), "%Y-%m-%dT%H:%M:%SZ"))
        except ValueError:
            return ""
        return _segment(environ["DAYPASS_ROLE"], ends - now)
    profile = _profile({})
    found = _newest(profile, now) if profile else None
    return _segment(found["role"], found["expiration"] - found["offset"] - now) if found else ""


def _segment(role: str, seconds: float) -> str:
    return f"{environment.short_name(role)} {left(seconds)}"


def _newest(profile: Mapping[str, str], now: float) -> dict[str, Any] | None:
    """The session of this profile whose file was written last, unless it has expired."""
    try:
        with os.scandir(os.path.join(state.directory(), "cache")) as entries:  # noqa: PTH118  # pathlib takes time to import
            files = sorted(((e.stat().st_mtime, e.path) for e in entries if e.name.endswith(".json")), reverse=True)
    except OSError:
        return None
    for _, path in files[:_LOOKED_AT]:
        try:
            text = state.read_own(path)
            role = str(json.loads(text)["role"])
        except (OSError, *state.UNREADABLE):
            continue
        found = state.session_in(text, profile["endpoint"], profile["access_key_id"], role)
        if found and state.is_good(found["expiration"], now + found["offset"]):
            return found
    return None


def _become(command: Sequence[str], variables: Mapping[str, str]) -> int | None:
    """Does not return, unless the program cannot be run: click reports that."""
    try:
        os.execvpe(command[0], list(command), variables)  # noqa: S606  # the user's own
    except OSError:
        return None
