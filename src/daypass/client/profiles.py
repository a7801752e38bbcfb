"""Profiles: where a server is and which key to use there, kept in one JSON file that only its owner can read.

The directory is DAYPASS_HOME, else XDG_CONFIG_HOME/daypass, else ~/.config/daypass. Writes replace the file as a whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

_LOCK_DEADLINE = 10.0  # seconds


class LocalStateError(Exception):
    """Something in the user's own files or settings is missing or unusable."""


class Busy(LocalStateError):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and a key. `session_token` is set when the key is itself a session's."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    region: str = "us-east-1"
    ca_bundle: str = ""

    def __post_init__(self) -> None:
        """Refuses what could not go into a request's headers, such as the line end of a careless paste."""
        for part in fields(self):
            value = getattr(self, part.name)
            if not isinstance(value, str) or not value.isprintable():
                raise LocalStateError(f"The {part.name.replace('_', ' ')} of the profile holds unprintable characters.")
            if part.name != "ca_bundle" and (" " in value or not value.isascii()):
                raise LocalStateError(
                    f"The {part.name.replace('_', ' ')} of the profile holds a space or a letter with accents."
                )

    def __repr__(self) -> str:
        return f"Profile(endpoint={self.endpoint!r}, access_key_id={self.access_key_id!r})"


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of profiles and cached credentials."""
    if environ.get("DAYPASS_HOME"):
        return Path(environ["DAYPASS_HOME"])
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "daypass"


def write_private(path: Path, text: str) -> None:
    """Replaces a file as a whole; it is readable by its owner alone from the first byte."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as error:
        raise LocalStateError(f"{path.parent} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # the name must not come to stand for an empty file when the power fails
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise LocalStateError(f"{path} cannot be written: {error.strerror}.") from None
        raise


@contextmanager
def locked(path: Path, deadline: float) -> Iterator[None]:
    """One process at a time; waits at most `deadline` seconds, so that a stuck holder cannot hang us. Raises Busy."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalStateError(f"{path.parent} cannot be written: {error.strerror}.") from None
    try:
        ends = time.monotonic() + deadline
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= ends:
                    raise Busy(f"Another process has held {path} for too long.") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _file(environ: Mapping[str, str]) -> Path:
    return home(environ) / "profiles.json"


def load_all(environ: Mapping[str, str] = os.environ) -> dict[str, Profile]:
    """Every stored profile by name. Raises LocalStateError when the file is unusable."""
    path = _file(environ)
    try:
        content = json.loads(path.read_text("utf-8"))
        return {str(name): Profile(**fields) for name, fields in content["profiles"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LocalStateError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LocalStateError(f"{path} is not a profile file; move it away and log in again.") from None


def save(name: str, profile: Profile, environ: Mapping[str, str] = os.environ) -> Path:
    """Stores a profile over the one of the same name."""
    path = _file(environ)
    with locked(path.with_suffix(".lock"), _LOCK_DEADLINE):
        profiles = {**load_all(environ), name: profile}
        content = {"profiles": {n: asdict(p) for n, p in sorted(profiles.items())}}
        write_private(path, json.dumps(content, indent=2) + "\n")
    return path


def resolve(name: str = "", endpoint: str = "", environ: Mapping[str, str] = os.environ) -> Profile:
    """The profile to use: the named one, else the AWS environment's key, else `default`.

    Raises LocalStateError that says what to do when there is none.
    """
    if not name and not environ.get("DAYPASS_PROFILE") and environ.get("AWS_ACCESS_KEY_ID"):
        found = _from_aws(environ)
    else:
        wanted = name or environ.get("DAYPASS_PROFILE") or "default"
        profiles = load_all(environ)
        if wanted not in profiles:
            raise LocalStateError(f"There is no profile '{wanted}'. Make one with: daypass login --profile {wanted}")
        found = profiles[wanted]
    if endpoint:
        found = replace(found, endpoint=endpoint.rstrip("/"))
    if not found.endpoint:
        raise LocalStateError("No server is known. Set AWS_ENDPOINT_URL, give --endpoint, or run: daypass login")
    return found


def _from_aws(environ: Mapping[str, str]) -> Profile:
    if not environ.get("AWS_SECRET_ACCESS_KEY"):
        raise LocalStateError("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not.")
    return Profile(
        endpoint=(environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL") or "").rstrip("/"),
        access_key_id=environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        session_token=environ.get("AWS_SESSION_TOKEN", ""),
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        ca_bundle=environ.get("AWS_CA_BUNDLE", ""),
    )
