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
    """The state of the database that was detected at start."""

    replaced: bool = False  # it is not the database that was last written here, but a copy, or an older state of it
    # What it lacks.
    losses: Losses = Losses()  # noqa: RUF009  # it is frozen
    revocations: int = 0  # how many were restored


@dataclass(frozen=True, slots=True)
class Backend:
    """Two engines and the functions that differ between databases."""

    name: str  # sqlite | postgresql
    # The driver's errors that mean that the server hangs or that no data arrives from it.
    unanswered: tuple[type[Exception], ...]
    readers: Engine  # its transactions are read-only snapshots
    writer: Engine  # its transactions write durably
    # Begins a transaction of `writer`, which ends with the context.
    begin: Callable[[], AbstractContextManager[Connection]]
    write_lock: Callable[[], AbstractContextManager[None]]  # held around a whole write transaction
    # Called under the lock with the feed head that a transaction committed, if it changed the feed.
    committed: Callable[[FeedHead], None]
    acknowledged: Acknowledged | None  # the node's notes of what was committed; None: it makes none
    is_replaced: Callable[[Connection], bool]  # run in a write transaction at start; see `RestoreCheck.replaced`
    check: Callable[[Connection], str]  # describes corrupt pages; "" when there are none
    clock: Callable[[Connection], int | None]  # the database server's time in ms; None when it has no clock
    # A context in which a statement of this transaction may take this many seconds.
    statement_timeout: Callable[[Connection, float], AbstractContextManager[None]]
    suspect: Callable[[], bool]  # whether the next write will probably fail, judged by the file and its disk
    warning: Callable[[Connection], str]  # what an operator should know about how durable a commit is; "" for nothing
    close: Callable[[], None]  # releases resources that the engines do not hold
