"""Reads the change feed from a cursor, and repairs a database that has lost data known to this process.

It runs on store threads; its results are applied on the event loop. It must never skip a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from daypass.domain.directory import Revocation
from daypass.domain.session import FeedPosition
from daypass.stores import tx
from daypass.stores.engine import Database, unavailable
from daypass.stores.feed import FeedChange, changes_after, feed_head, renew_epoch
from daypass.stores.log_heads import FeedHead
from daypass.stores.nodes import listed_nodes
from daypass.stores.revocations import prune_revocations, read_revocations, revocations_after

MANY_CHANGES = 10_000
"""If the cursor is behind by more than this, starting over is cheaper than reading every change."""
RESTORED_AT_ONCE = 200
"""Revocations that are restored in one transaction, between two polls."""


class Polled(NamedTuple):
    """The result of one poll, in one snapshot. `changes` is None when the cursor is not usable and the reader must
    start over.
    """

    head: FeedHead
    changes: Sequence[FeedChange] | None
    revocations: Sequence[Revocation]
    nodes: frozenset[str] = frozenset()  # the processes that the registry lists
    clock: int | None = None  # the database server's time in ms, read after the poll began


def poll(database: Database, cursor: FeedPosition, since: int, *, timed: bool = False) -> Polled:
    """The changes after `cursor`. When starting over, all revocations that may match a session after `since` (ms) are
    read.

    A feed that ends before the cursor belongs to an older copy of the database, which first gets a new epoch. `timed`: the
    result has the database server's time. Raises DaypassError(UNAVAILABLE).
    """

    def work(conn: Connection) -> Polled:
        clock = database.clock(conn) if timed else None
        return _poll(conn, cursor, since)._replace(nodes=listed_nodes(conn), clock=clock)

    polled = database.read(work, probe=True)
    if polled.head.epoch != cursor.epoch or polled.head.position >= cursor.position:
        return polled
    _renew(database, cursor)
    return database.read(work)


def _poll(conn: Connection, cursor: FeedPosition, since: int) -> Polled:
    polled = follow(conn, cursor)
    return polled if polled.changes is not None else polled._replace(revocations=read_revocations(conn, since))


def follow(conn: Connection, cursor: FeedPosition) -> Polled:
    """The changes after `cursor`, with the revocations among them. `changes` is None when the cursor is not usable here."""
    head = feed_head(conn)
    same = head.epoch == cursor.epoch
    if same and head.position == cursor.position:
        return Polled(head, (), ())
    if same and head.pruned <= cursor.position < head.position <= cursor.position + MANY_CHANGES:
        changes = changes_after(conn, cursor.position, MANY_CHANGES)
        return Polled(head, changes, revocations_after(conn, cursor.position))
    return Polled(head, None, ())


def _renew(database: Database, cursor: FeedPosition) -> None:
    try:
        with database.write_transaction() as conn:
            head = feed_head(conn)
            if head.epoch == cursor.epoch and head.position < cursor.position:
                renew_epoch(conn)
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def restore_revocations(database: Database, lost: Sequence[Revocation], now: int) -> None:
    """Restores revocations that the database lacks or has in an earlier state, at new positions. Raises
    DaypassError(UNAVAILABLE).
    """
    try:
        with database.write_transaction() as conn:
            tx.restore_revocations(tx.StoreTx(conn, now), lost)
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def forget_spent(database: Database, before: int) -> int:
    """Removes stored revocations that can no longer match a session and returns their number. Raises
    DaypassError(UNAVAILABLE).
    """
    try:
        with database.write_transaction() as conn:
            return prune_revocations(conn, before)
    except SQLAlchemyError as error:
        raise unavailable(error) from error
