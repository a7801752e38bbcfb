"""The files that the agent writes: AWS credentials, variables, tokens, templates.

A file is replaced as a whole, and has its owner and mode before it has its name: a crash at any moment leaves the old file or
the new one. No symbolic link is followed, because the directory may belong to another user. It must never replace a file that
the agent did not write.
"""

from __future__ import annotations

import os
import stat
import string
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress

from daypass.client import state
from daypass.client.agent.config import File, gid_of, uid_of
from daypass.client.credentials import Credentials
from daypass.client.profiles import LocalStateError

MARK = "# Written by daypass agent. Changes are lost."
_RELOAD_SECONDS = 30.0
_MAX_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def values_of(credentials: Credentials, region: str) -> dict[str, str]:
    """Values for files and templates, by AWS's names."""
    return {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": credentials.expiration_text(),
        "Region": region,
    }


def content_of(file: File, values: Mapping[str, str]) -> str:
    """The text of a file. `values`: of `values_of`, and `Token` if the file has an audience. Raises LocalStateError."""
    if file.form == "jwt":
        return values["Token"]
    if file.form == "template":
        return _filled(file.template, values)
    secrets = {
        "aws_access_key_id": values["AccessKeyId"],
        "aws_secret_access_key": values["SecretAccessKey"],
        "aws_session_token": values["SessionToken"],
    }
    if file.form == "credentials":
        lines = (f"[{file.section}]", *(f"{name} = {value}" for name, value in secrets.items()))
    else:
        lines = tuple(f"{name.upper()}={value}" for name, value in {**secrets, "aws_region": values["Region"]}.items())
    return "\n".join((MARK, *lines, ""))


def _filled(path: str, values: Mapping[str, str]) -> str:
    try:
        return string.Template(state.read_own(path)).substitute(values)
    except OSError as error:
        raise LocalStateError(f"The template {path} cannot be read: {error.strerror}.") from None
    except KeyError as error:
        raise LocalStateError(f"The template {path} names {error}; known are {', '.join(sorted(values))}.") from None
    except ValueError as error:
        raise LocalStateError(f"The template {path} cannot be used: {error}.") from None


def write(file: File, text: str) -> bool:
    """Replaces the file; False if it has this text already. Raises LocalStateError."""
    marked = file.form in ("credentials", "env")

    def may_replace(before: str) -> bool:
        return not marked or not before.strip() or before.startswith(MARK)

    return put(file.path, text, (uid_of(file.owner), gid_of(file.group), int(file.mode, 8)), may_replace)


def put(path: str, text: str, access: tuple[int, int, int], may_replace: Callable[[str], bool]) -> bool:
    """Replaces the file at an absolute path; False if it is so already. Raises LocalStateError.

    `access`: user id, group id and mode; an id of -1 is the agent's own.
    """
    uid, _, mode = access
    directory, name = os.path.split(path)
    try:
        handle = _open_directory(directory)
        try:
            before = _before(handle, name)
            if before is not None:
                if not may_replace(before[0]):
                    raise LocalStateError(f"{path} was not written by the agent; move it away first.")
                if before == (text, uid if uid >= 0 else os.geteuid(), mode):
                    return False
            _replace(handle, name, text, access)
        finally:
            os.close(handle)
    except OSError as error:
        raise LocalStateError(f"{path} cannot be written: {error.strerror}.") from None
    return True


def _open_directory(path: str) -> int:
    """Opens a directory by its components, so that no symbolic link among them is followed."""
    handle = os.open("/", _DIRECTORY)
    for part in filter(None, path.split("/")):
        try:
            below = os.open(part, _DIRECTORY, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def _before(directory: int, name: str) -> tuple[str, int, int] | None:
    """Text, owner and mode of the file; None if there is none that can be read as text."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        text = file.read(_MAX_BYTES).decode("utf-8", "replace")
        return text, status.st_uid, stat.S_IMODE(status.st_mode)


def _replace(directory: int, name: str, text: str, access: tuple[int, int, int]) -> None:
    uid, gid, mode = access
    new = (
        f".{name}.daypass-new"  # one name, so that a killed agent leaves at most one file, which the next one replaces
    )
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(new, flags, 0o600, dir_fd=directory)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)
        os.fsync(handle)
    os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def reload(command: tuple[str, ...]) -> None:
    """Runs the command of a file that has changed. Raises LocalStateError."""
    try:
        ran = subprocess.run(  # noqa: S603  # the operator's own
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=_RELOAD_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LocalStateError(f"The reload command {command[0]} did not end within {_RELOAD_SECONDS:g} s.") from None
    except OSError as error:
        raise LocalStateError(f"The reload command {command[0]} cannot be run: {error.strerror}.") from None
    if ran.returncode:
        said = " ".join(ran.stderr.decode("utf-8", "replace").split())[-200:]
        raise LocalStateError(f"The reload command {command[0]} ended with status {ran.returncode}: {said}")
