"""Sections of the AWS configuration file that work in every SDK, and adding them to that file.

They get credentials from `daypass credential-process`, not from `role_arn`: the JavaScript and Go SDKs would call AWS's
own STS for the latter. A section that Daypass has not written is never changed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from daypass.client.profiles import NAME, LocalStateError, Profile, home, locked, replace_file

_MARK = "# written by daypass profile export"
_LOCK_DEADLINE = 10.0  # seconds
_HEADER = re.compile(r"\s*\[([^\]\n]*)\]")


def sections(aws_name: str, stored: str, profile: Profile, role: str = "") -> str:
    """The sections of one AWS profile: `role` assumed by the stored profile, or that profile's own key.

    Raises LocalStateError for a name that the file cannot contain.
    """
    for part in (aws_name, stored, *([role.replace(":", "_").replace("=", "_").replace(",", "_")] if role else ())):
        if not NAME.fullmatch(part):
            raise LocalStateError(f"{part!r} cannot be written to an AWS configuration file.")
    command = f"{program()} credential-process {f'{role} ' if role else ''}--profile {stored}"
    heading = "default" if aws_name == "default" else f"profile {aws_name}"
    lines = [
        f"[{heading}]",
        _MARK,
        f"credential_process = {command}",
        f"region = {profile.region}",
        f"endpoint_url = {profile.endpoint}",
        *([f"ca_bundle = {profile.ca_bundle}"] if profile.ca_bundle else ()),
        f"services = daypass-{aws_name}",
        "",
        f"[services daypass-{aws_name}]",
        _MARK,
        *(line for service in ("sts", "iam") for line in (f"{service} =", f"  endpoint_url = {profile.endpoint}")),
    ]
    return "\n".join(lines) + "\n"


def program() -> str:
    """How other programs find this command: its name if it is on PATH, else its place."""
    if shutil.which("daypass"):
        return "daypass"
    own = Path(sys.argv[0]).resolve()
    if own.name in ("daypass", "daypass.pyz"):
        return shlex.quote(str(own))
    return f"{shlex.quote(sys.executable)} -m daypass.cli.main"


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the file that AWS SDKs read."""
    return Path(environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()


def write(path: Path, text: str) -> None:
    """Adds sections to the file, in place of those of the same names that Daypass wrote. Raises LocalStateError."""
    with locked(home() / "aws-config.lock", _LOCK_DEADLINE):  # or two commands at once would lose a section
        _write(path.resolve(), text)  # a symbolic link stays a link


def _write(path: Path, text: str) -> None:
    try:
        before = path.read_text("utf-8")
    except FileNotFoundError:
        before = ""
    except (OSError, UnicodeDecodeError) as error:
        raise LocalStateError(f"{path} cannot be read: {error}.") from None
    new = _split(text)
    kept: list[str] = []
    for heading, body in _split(before):
        if heading and heading in dict(new):
            if _MARK not in body:
                raise LocalStateError(
                    f"{path} has a section [{heading}] that Daypass has not written; choose another name."
                )
            continue
        kept.append(body)
    joined = "".join(kept).rstrip("\n")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalStateError(f"{path.parent} cannot be written: {error.strerror}.") from None
    replace_file(path, f"{joined}\n\n{text}" if joined else text)


def _split(text: str) -> list[tuple[str, str]]:
    """(heading, its lines) for each section; "" for what is before the first."""
    profiles: list[tuple[str, str]] = [("", "")]
    for line in text.splitlines(keepends=True):
        if header := _HEADER.match(line):
            profiles.append((header[1].strip(), ""))
        heading, body = profiles[-1]
        profiles[-1] = (heading, body + line)
    return profiles
