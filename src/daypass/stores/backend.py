"""The differences between SQLite and PostgreSQL, as one value. It must not contain rules that both share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from daypass.stores.log_heads import LogHead

FEED_HEAD = "daypass.feed_head"
"""Key in `Connection.info` under which a transaction stores the `FeedHead` that it will commit."""
ANSWER_SECONDS = 5.0
"""How long the client waits for PostgreSQL's response to one statement."""
LOG_HEAD = "daypass.log_head"
"""Key in `Connection.info` under which a transaction stores the `LogHead` that it will commit."""
COPY_TYPES = "copy_types"
"""Execution option of a `COPY … FROM STDIN (FORMAT BINARY)`, whose one parameter is a list of rows: the types of its
columns.
"""


class UnusableDatabase(Exception):
    """The database cannot be used: it is corrupt, half migrated or made by another program. The message says which."""


@dataclass(frozen=True, slots=True)
class FeedHead:
    """The state of the change feed: positions run from `pruned` + 1 to `position` without a gap."""

    epoch: str
    position: int
    pruned: int


@dataclass(frozen=True, slots=True)
class RestoreCheck:
    """The state of the database that was detected at start.

    Attributes:
        restored: it is not the database that was last written here, or a part of it is missing. It now has a new epoch.
        lost: the last acknowledged records of logs that are missing.
        missing: the number of missing acknowledged records, as far as it can be determined.
    """

    restored: bool = False
    lost: tuple[LogHead, ...] = ()
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Backend:
    """Two engines and the functions that differ between databases.

    Attributes:
        name: sqlite | postgresql.
        unanswered: the driver's errors that mean that the server hangs or that no data arrives from it.
        readers: its transactions are read-only snapshots.
        writer: its transactions write durably.
        begin: begins a transaction of `writer`, which ends with the context.
        write_lock: held around a whole write transaction.
        committed: called under the lock with the feed head that a transaction committed, if it changed the feed.
        committed_log: called under the lock with the newest record of a log that a transaction committed.
        detect_restore: run in a write transaction at start; see `RestoreCheck`.
        losses_recorded: called with `RestoreCheck.lost` when that transaction has been committed.
        check: describes corrupt pages; "" when there are none.
        clock: the database server's time in ms; None when it has no clock.
        others: whether another process has joined. Only processes that share a file are detected.
        join: marks that this process serves from the database, until `close`.
        statement_timeout: a context in which a statement of this transaction may take this many seconds.
        suspect: whether the next write will probably fail, judged by the file and its disk.
        close: releases resources that the engines do not hold.
    """

    name: str
    unanswered: tuple[type[Exception], ...]
    readers: Engine
    writer: Engine
    begin: Callable[[], AbstractContextManager[Connection]]
    write_lock: Callable[[], AbstractContextManager[None]]
    committed: Callable[[FeedHead], None]
    committed_log: Callable[[LogHead], None]
    detect_restore: Callable[[Connection], RestoreCheck]
    losses_recorded: Callable[[Sequence[LogHead]], None]
    check: Callable[[Connection], str]
    clock: Callable[[Connection], int | None]
    others: Callable[[], bool]
    join: Callable[[], None]
    statement_timeout: Callable[[Connection, float], AbstractContextManager[None]]
    suspect: Callable[[], bool]
    close: Callable[[], None]
