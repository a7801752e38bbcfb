"""The state of a cached directory at one moment, from which another process can serve while the database is unavailable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from daypass.domain.directory import Revocation
from daypass.domain.session import FeedPosition


class CachedView(NamedTuple):
    """A view with its cache key and the other feed keys that it depends on."""

    key: str
    view: Any
    depends_on: tuple[str, ...]


class DirectoryImage(NamedTuple):
    """Views and revocations as of one successful poll of the change feed.

    Attributes:
        position: of the change feed.
        as_of: when that poll began, ms.
        changes: grows when a cached view may have changed; compare it with that of an earlier image.
        views: the most recently used last.
        revocations: all that may match a session.
        others: the other processes that the registry listed.
    """

    position: FeedPosition
    as_of: int
    changes: int
    views: Sequence[CachedView]
    revocations: Sequence[Revocation]
    others: frozenset[str]
