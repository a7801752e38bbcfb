"""The sessions in the cache of the client: what `status` shows and `logout` removes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daypass.client import state
from daypass.client.credentials import Credentials
from daypass.client.profiles import Profile, home


def sessions() -> Iterator[tuple[Path, Credentials]]:
    """Every cached session with its file; unreadable files are left out."""
    for path in sorted((home() / "cache").glob("*.json")):
        try:
            content: dict[str, Any] = json.loads(state.read_own(str(path)))
            yield path, Credentials(**content)
        except (OSError, ValueError, TypeError, RecursionError):
            continue


def remove(profile: Profile) -> int:
    """Removes the cached sessions that this key made; how many they were."""
    removed = 0
    for path, credentials in sessions():
        if credentials.source_key == profile.access_key_id and credentials.endpoint == profile.endpoint:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
