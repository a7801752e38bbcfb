"""Profiles: the address of a server and the key to use there, stored in one JSON file that only its owner can read.

The secret of a key is in the same file, or in an entry of the system keyring that the file names.

The directory is DAYPASS_HOME, else XDG_CONFIG_HOME/daypass, else ~/.config/daypass. Writes replace the file as a whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from daypass.client import state

_LOCK_DEADLINE = 10.0  # seconds
DEFAULT = state.DEFAULT
NAME = re.compile(r"[A-Za-z0-9_.@/+][A-Za-z0-9_.@/+-]{0,127}")
"""Names of profiles. They stand in shell completions and in AWS configuration files, so they have no other letters."""


class LocalStateError(Exception):
    """Something in the user's own files or settings is missing or unusable."""


class Busy(LocalStateError):
    """Another process holds the lock."""


class Unwritable(LocalStateError):
    """A file or directory of ours cannot be written, as where the home directory is read-only."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and a key. `session_token` is set when the key is itself a session's, which ends at `expiration` (ISO
    8601).

    `mfa_serial` names the MFA device whose code goes with each role that is assumed. `keyring_entry` names the entry of
    the system keyring that holds the secret and the session token, which are then empty until `usable.with_secret` reads them.
    `refresh_token` renews the session of a login by browser, and `login` identifies that login: key and token change.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    region: str = state.REGION
    ca_bundle: str = ""
    mfa_serial: str = ""
    expiration: str = ""
    keyring_entry: str = ""
    refresh_token: str = ""
    login: str = ""

    def __post_init__(self) -> None:
        """Refuses what could not go into a request's headers, such as the line end of a careless paste."""
        for part in fields(self):
            if problem := state.unusable(part.name, getattr(self, part.name)):
                raise LocalStateError(problem)

    def __repr__(self) -> str:
        return f"Profile(endpoint={self.endpoint!r}, access_key_id={self.access_key_id!r})"


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of profiles and cached credentials."""
    return Path(state.directory(environ))


def private_directory(path: Path) -> None:
    """Makes a directory that is closed to other users, as are those above it that are missing.

    Raises LocalStateError when it belongs to another user, who could replace what is in it.
    """
    try:
        if not path.exists():
            for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
                missing.mkdir(mode=0o700, exist_ok=True)
        status = path.stat()
        if status.st_uid not in state.owners():
            raise LocalStateError(f"{path} belongs to another user. Set DAYPASS_HOME to a directory of your own.")
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise Unwritable(f"{path} cannot be written: {error.strerror}.") from None


def write_private(path: Path, text: str) -> None:
    """Replaces a file in a private directory as a whole; it is readable by its owner alone from the first byte."""
    private_directory(path.parent)
    replace_file(path, text)


def replace_file(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replaces a file as a whole. Until it is whole, it is readable by its owner alone."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as error:
        raise Unwritable(f"{path.parent} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())  # the file must not be empty after a power failure
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unwritable(f"{path} cannot be written: {error.strerror}.") from None
        raise


def of_login(login: str, environ: Mapping[str, str] = os.environ) -> tuple[str, Profile] | None:
    """Name and profile of a login by browser, as they are stored now; None when there is none any more."""
    return next(((name, profile) for name, profile in load_all(environ).items() if profile.login == login), None)


@contextmanager
def locked(path: Path, deadline: float) -> Iterator[None]:
    """One process at a time; waits at most `deadline` seconds, so that a stuck holder cannot hang us. Raises Busy."""
    private_directory(path.parent)
    with locked_there(path, deadline):
        yield


@contextmanager
def locked_there(path: Path, deadline: float) -> Iterator[None]:
    """As `locked`, in a directory that others may read."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unwritable(f"{path.parent} cannot be written: {error.strerror}.") from None
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
    return home(environ) / state.PROFILES


def load_all(environ: Mapping[str, str] = os.environ) -> dict[str, Profile]:
    """Every stored profile by name. Raises LocalStateError when the file is unusable."""
    path = _file(environ)
    try:
        return {name: Profile(**fields) for name, fields in state.stored(environ).items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LocalStateError(f"{path} cannot be read: {error.strerror}.") from None
    except state.UNREADABLE:
        raise LocalStateError(f"{path} is not a profile file; move it away and log in again.") from None


def save(name: str, profile: Profile, environ: Mapping[str, str] = os.environ) -> Path:
    """Stores a profile over the one of the same name, whose entry in the keyring is deleted.

    Raises LocalStateError, also for a name that is not of the form NAME.
    """
    if not NAME.fullmatch(name):
        raise LocalStateError(f"{name!r} cannot name a profile: use letters, digits and _ . @ / + - (128 at most).")
    path = _file(environ)
    with locked(path.with_suffix(".lock"), _LOCK_DEADLINE):
        profiles = load_all(environ)
        _write(path, {**profiles, name: profile})
        before = profiles.get(name)
    if before is not None and before.keyring_entry != profile.keyring_entry:
        forget_secret(before)
    return path


def _write(path: Path, profiles: Mapping[str, Profile]) -> None:
    content = {"profiles": {n: asdict(_without_secret(p)) for n, p in sorted(profiles.items())}}
    write_private(path, json.dumps(content, indent=2) + "\n")


# --- The system keyring


def in_keyring(profile: Profile) -> Profile:
    """The profile with its secret in the system keyring. Raises LocalStateError when there is none that can be used."""
    from daypass.client import keyring  # not needed to read a profile

    try:
        secret_parts = (profile.secret_access_key, profile.session_token, profile.refresh_token)
        entry = keyring.put(profile.access_key_id, *secret_parts)
    except keyring.KeyringError as error:
        raise LocalStateError(f"The system keyring cannot be used: {error}.") from None
    return replace(profile, keyring_entry=entry)


def from_keyring(profile: Profile) -> Profile:
    """The profile with the secrets that the system keyring holds for it. Raises LocalStateError."""
    if not profile.keyring_entry or profile.secret_access_key:
        return profile
    from daypass.client import keyring

    try:
        secret, token, refresh_token = keyring.get(profile.keyring_entry)
    except keyring.KeyringError as error:
        raise LocalStateError(
            f"The secret of {profile.access_key_id} is in the system keyring, which cannot be used: {error}. "
            "To keep it in the profile file: daypass login --secret-store file"
        ) from None
    return replace(profile, secret_access_key=secret, session_token=token, refresh_token=refresh_token)


def forget_secret(profile: Profile) -> str:
    """Deletes the secret of a profile from the system keyring; why that failed, or ""."""
    if not profile.keyring_entry:
        return ""
    from daypass.client import keyring

    try:
        keyring.delete(profile.keyring_entry)
    except keyring.KeyringError as error:
        return str(error)
    return ""


def _without_secret(profile: Profile) -> Profile:
    if not profile.keyring_entry:
        return profile
    return replace(profile, secret_access_key="", session_token="", refresh_token="")


# --- Which profile


def known(name: str = "", endpoint: str = "", environ: Mapping[str, str] = os.environ) -> Profile:
    """The profile to use, without a secret that the keyring holds: the named one, else the AWS environment's key, else
    the one of `use`, else `default`.

    Raises LocalStateError that says what to do when there is none.
    """
    wanted = state.wanted(name, environ)
    if not wanted:
        profile = _from_aws(environ)
    else:
        profiles = load_all(environ)
        if wanted not in profiles:
            raise LocalStateError(f"Profile '{wanted}' does not exist.{_hint(wanted, profiles)}")
        profile = profiles[wanted]
    if endpoint:
        profile = replace(profile, endpoint=endpoint.rstrip("/"))
    if not profile.endpoint:
        raise LocalStateError("No server is known. Set AWS_ENDPOINT_URL, give --endpoint, or run: daypass login")
    return profile


def remove(name: str, environ: Mapping[str, str] = os.environ) -> Profile:
    """Forgets a profile; what it was. Raises LocalStateError when there is no such profile."""
    path = _file(environ)
    with locked(path.with_suffix(".lock"), _LOCK_DEADLINE):
        profiles = load_all(environ)
        if name not in profiles:
            raise LocalStateError(f"Profile '{name}' does not exist.{_hint(name, profiles)}")
        profile = profiles.pop(name)
        _write(path, profiles)
    return profile


def current(environ: Mapping[str, str] = os.environ) -> str:
    """The profile that is used when none is named; "" when the AWS environment's key goes before it."""
    return state.wanted("", environ)


def use(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Makes `name` the profile that is used when none is named. Raises LocalStateError when there is no such
    profile.
    """
    profiles = load_all(environ)
    if name not in profiles:
        raise LocalStateError(f"Profile '{name}' does not exist.{_hint(name, profiles)}")
    write_private(home(environ) / state.CHOSEN, name + "\n")


def _hint(wanted: str, profiles: Mapping[str, Profile]) -> str:
    """A hint for a profile that does not exist."""
    import difflib  # for a mistake alone

    close = difflib.get_close_matches(wanted, profiles, 1)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Make one with: daypass login --profile {wanted}"


def _from_aws(environ: Mapping[str, str]) -> Profile:
    if not environ.get("AWS_SECRET_ACCESS_KEY"):
        raise LocalStateError("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not.")
    return Profile(**state.from_aws(environ))
