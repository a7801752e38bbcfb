"""The differences between SQLite and PostgreSQL, as one value. It must not contain rules that both share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from daypass.stores.log_heads import FeedHead, Losses

if TYPE_CHECKING:
    from daypass.stores.acknowledged import Acknowledged

FEED_HEAD = "daypass.feed_head"
"""Key in `Connection.info` under which a transaction stores the `FeedHead` that it will commit."""
ANSWER_SECONDS = 5.0
"""How long the client waits for PostgreSQL's response to one statement."""
LOG_HEAD = "daypass.log_head"
"""Key in `Connection.info` under which a transaction stores the `LogHead` that it will commit."""
REVOCATIONS = "daypass.revocations"
"""Key in `Connection.info` under which a transaction stores the list of revocations that it will commit."""
EPOCH = "daypass_epoch"
"""Execution option of an engine: what names the cluster and its timeline, if the operator does."""
COPY_TYPES = "copy_types"
"""Execution option of a `COPY … FROM STDIN (FORMAT BINARY)`, whose one parameter is a list of rows: the types of its
columns.
"""


class UnusableDatabase(Exception):
    """The database cannot be used: it is corrupt, half migrated or made by another program. The message says which."""


@dataclass(frozen=True, slots=True)
class RestoreCheck:
    """The state of the database that was detected at start.

    Attributes:
        replaced: it is not the database that was last written here, but a copy, or an older state of it.
        losses: what it lacks.
        revocations: how many were restored.
    """

    replaced: bool = False
    losses: Losses = Losses()  # noqa: RUF009  # it is frozen
    revocations: int = 0


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
        acknowledged: the node's notes of what was committed; None: it makes none.
        is_replaced: run in a write transaction at start; see `RestoreCheck.replaced`.
        check: describes corrupt pages; "" when there are none.
        clock: the database server's time in ms; None when it has no clock.
        statement_timeout: a context in which a statement of this transaction may take this many seconds.
        suspect: whether the next write will probably fail, judged by the file and its disk.
        warning: what an operator should know about how durable a commit is; "" for nothing.
        close: releases resources that the engines do not hold.
    """

    name: str
    unanswered: tuple[type[Exception], ...]
    readers: Engine
    writer: Engine
    begin: Callable[[], AbstractContextManager[Connection]]
    write_lock: Callable[[], AbstractContextManager[None]]
    committed: Callable[[FeedHead], None]
    acknowledged: Acknowledged | None
    is_replaced: Callable[[Connection], bool]
    check: Callable[[Connection], str]
    clock: Callable[[Connection], int | None]
    statement_timeout: Callable[[Connection, float], AbstractContextManager[None]]
    suspect: Callable[[], bool]
    warning: Callable[[Connection], str]
    close: Callable[[], None]
