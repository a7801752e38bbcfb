"""What differs between SQLite and PostgreSQL, as one value. It must hold no rule that both share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

FEED_HEAD = "daypass.feed_head"
"""Key in `Connection.info` under which a transaction notes the `FeedHead` it will commit."""


class UnusableDatabase(Exception):
    """The database must not be served from: corrupt, half migrated or made by another program. Says which."""


@dataclass(frozen=True, slots=True)
class FeedHead:
    """Where the change feed stands: positions run from `pruned` + 1 to `position` without a gap."""

    incarnation: str
    position: int
    pruned: int


@dataclass(frozen=True, slots=True)
class Backend:
    """Two engines and the duties around them.

    Attributes:
        name: sqlite | postgresql.
        readers: its transactions are read-only snapshots.
        writer: its transactions write durably.
        write_lock: held around a whole write transaction.
        committed: told, still under the lock, the feed head that a transaction committed, if it moved the feed.
        settle: run in a write transaction at start; whether the database was swapped or put back, and is another life now.
        check: what is wrong with the pages, "" when nothing is.
        close: releases what is not in the engines.
    """

    name: str
    readers: Engine
    writer: Engine
    write_lock: Callable[[], AbstractContextManager[None]]
    committed: Callable[[FeedHead], None]
    settle: Callable[[Connection], bool]
    check: Callable[[Connection], str]
    close: Callable[[], None]
