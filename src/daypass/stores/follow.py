"""Reads the change feed from a cursor on, and puts a database right that has lost what this process knows.

Runs on store threads; what it finds is applied on the event loop. It must never skip a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import Seen
from daypass.stores.backend import FeedHead
from daypass.stores.engine import Database, unavailable
from daypass.stores.feed import Change, changes_after, feed_head, renew_incarnation
from daypass.stores.tx import StoreTx, read_revocations, revocations_after

_MANY_CHANGES = 10_000
"""Behind by more than this, starting afresh is cheaper than reading every change."""


class Polled(NamedTuple):
    """One look at the feed, in one snapshot. `changes` is None when the cursor cannot be followed: start over."""

    head: FeedHead
    changes: Sequence[Change] | None
    revocations: Sequence[Revocation]


def poll(database: Database, cursor: Seen, since: int) -> Polled:
    """What came after `cursor`. On starting over, all revocations that matter after `since` (ms) are read.

    A feed that ends before the cursor is that of an older copy put in the database's place: it gets a new incarnation
    first. Raises DaypassError(UNAVAILABLE).
    """
    found = database.read(lambda conn: _poll(conn, cursor, since))
    if found.head.incarnation != cursor.incarnation or found.head.position >= cursor.position:
        return found
    _renew(database, cursor)
    return database.read(lambda conn: _poll(conn, cursor, since))


def _poll(conn: Connection, cursor: Seen, since: int) -> Polled:
    head = feed_head(conn)
    same = head.incarnation == cursor.incarnation
    if same and head.position == cursor.position:
        return Polled(head, (), ())
    if same and head.pruned <= cursor.position < head.position <= cursor.position + _MANY_CHANGES:
        changes = changes_after(conn, cursor.position, _MANY_CHANGES)
        return Polled(head, changes, revocations_after(conn, cursor.position))
    return Polled(head, None, read_revocations(conn, since))


def _renew(database: Database, cursor: Seen) -> None:
    try:
        with database.write_transaction() as conn:
            head = feed_head(conn)
            if head.incarnation == cursor.incarnation and head.position < cursor.position:
                renew_incarnation(conn)
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def restore_revocations(database: Database, lost: Sequence[Revocation], now: int) -> None:
    """Puts revocations back that the database has forgotten, at new positions. Raises DaypassError(UNAVAILABLE)."""
    try:
        with database.write_transaction() as conn:
            tx = StoreTx(conn, now)
            for revocation in lost:
                try:
                    tx.insert(revocation)
                except DaypassError as error:
                    if error.kind is not ErrorKind.ALREADY_EXISTS:  # another process put it back
                        raise
            tx.flush()
    except SQLAlchemyError as error:
        raise unavailable(error) from error
