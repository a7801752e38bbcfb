"""Names of roles shown to a profile, cached for completion, the picker and suggestions. It calls no server."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from daypass.client import state
from daypass.client.profiles import LocalStateError, Profile, home, known, write_private

_MAX_NAMES = 2000
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
"""Names that IAM gives to roles. A shell inserts what completion offers as it is, so nothing else is offered."""


def _file(profile: Profile) -> Path:
    key = hashlib.sha256(f"{profile.endpoint} {profile.access_key_id}".encode()).hexdigest()[:32]
    return home() / "names" / f"{key}.json"


def remember_roles(profile: Profile, arns: Iterable[str]) -> None:
    """Keeps the names of these roles: NAME in one's own account, as `daypass roles` lists them."""
    names = sorted(filter(_NAME.fullmatch, {arn.rpartition(":role/")[2].rpartition("/")[2] for arn in arns}))[
        :_MAX_NAMES
    ]
    try:
        write_private(_file(profile), json.dumps(names))
    except LocalStateError:
        return  # a cache that cannot be written is not a failure of the command that fills it


def cached_roles(profile: str = "") -> list[str]:
    """The names that are kept for a profile; [] when there are none."""
    try:
        return roles_of(known(profile))
    except LocalStateError:
        return []


def roles_of(profile: Profile) -> list[str]:
    """The names that are kept for this server and key."""
    try:
        found = json.loads(state.read_own(str(_file(profile))))
    except (OSError, *state.UNREADABLE):
        return []
    return (
        [name for name in found if isinstance(name, str) and _NAME.fullmatch(name)] if isinstance(found, list) else []
    )
