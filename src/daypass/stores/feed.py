"""The change feed: what changed in the directory, in the order in which it was committed.

Positions come from one counter row that is updated inside the writing transaction, so that position order is commit
order: a poller that has read up to a position has read all that is below it. They must never come from a sequence or
rowid, where a reader overtakes a slower transaction and never sees it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, literal, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from daypass.domain.directory import Revocation
from daypass.domain.session import FeedPosition
from daypass.stores.backend import EPOCH, FEED_HEAD
from daypass.stores.columns import feed, feed_counter
from daypass.stores.log_heads import FeedHead

KEEP_MS = 24 * 3_600_000
"""How long feed entries are stored. A reader with an older cursor starts over."""
_PRUNE_EVERY = 256

_HEAD = select(feed_counter.c.epoch, feed_counter.c.position, feed_counter.c.pruned)
# The epoch of a cluster: initdb, promotion and a re-created table (pg_restore) each change one of these values.
_CLUSTER = text(
    """
    SELECT (SELECT system_identifier FROM pg_control_system()) || '.' || 'feed_counter'::regclass::oid || '.' ||
      CASE WHEN pg_is_in_recovery()
           THEN (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline)
                   FROM pg_control_checkpoint() c, pg_control_recovery() r)
           ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END
    """
)


@dataclass(frozen=True, slots=True)
class FeedChange:
    """One change of one entity.

    `keys` are all look-up keys of the entity, before and after: "role:AROA…", "role_name:ACCOUNT:name", "owner:ID".
    A change carries its revocation, so that the process that made it applies it at once.
    """

    position: int
    kind: str  # the entity's table
    account: str
    keys: tuple[str, ...]
    revocation: Revocation | None = None


def feed_head(conn: Connection) -> FeedHead:
    """The head of the feed in this snapshot, with the database epoch."""
    row = conn.execute(_HEAD).one()
    epoch = row.epoch
    if conn.dialect.name == "postgresql":
        cluster = conn.get_execution_options().get(EPOCH) or conn.execute(_CLUSTER).scalar_one()
        epoch = hashlib.sha256(f"{epoch}.{cluster}".encode()).hexdigest()[:16]
    return FeedHead(epoch, row.position, row.pruned)


def renew_epoch(conn: Connection) -> FeedHead:
    """Starts a new epoch. Sessions and cursors of the previous epoch are no longer compared with it."""
    conn.execute(update(feed_counter).values(epoch=secrets.token_hex(8)))
    row = conn.execute(_HEAD).one()
    conn.info[FEED_HEAD] = head = FeedHead(row.epoch, row.position, row.pruned)
    return head


def append(conn: Connection, changes: Sequence[FeedChange], now: int) -> list[FeedChange]:
    """Adds `changes`, which have no positions yet, to the feed and returns them with their positions.

    The counter's row stays locked until the transaction ends, so call it as late as possible. `now`: ms.
    """
    if not changes:
        return []
    moved = update(feed_counter).values(position=feed_counter.c.position + len(changes))
    row = conn.execute(moved.returning(feed_counter.c.position, feed_counter.c.pruned, feed_counter.c.epoch)).one()
    first = row.position - len(changes) + 1
    placed = [
        FeedChange(position, change.kind, change.account, change.keys, change.revocation)
        for position, change in enumerate(changes, first)
    ]
    conn.execute(
        insert(feed),
        [
            {"position": c.position, "kind": c.kind, "account": c.account, "keys": json.dumps(c.keys), "at": now}
            for c in placed
        ],
    )
    conn.info[FEED_HEAD] = FeedHead(row.epoch, row.position, row.pruned)
    if row.position // _PRUNE_EVERY != (first - 1) // _PRUNE_EVERY:
        prune(conn, now - KEEP_MS)
    return placed


def prune(conn: Connection, before: int) -> None:
    """Removes entries older than `before` (ms) from the old end of the feed, and stores the last pruned position."""
    newest = select(feed.c.position).where(feed.c.at < before).order_by(feed.c.position.desc()).limit(1)
    position = conn.execute(newest).scalar_one_or_none()
    if position is None:
        return
    conn.execute(delete(feed).where(feed.c.position <= position))
    conn.execute(update(feed_counter).values(pruned=position))


def changes_after(conn: Connection, position: int, limit: int) -> list[FeedChange]:
    """Up to `limit` changes after `position`, oldest first, without their revocations."""
    rows = conn.execute(select(feed).where(feed.c.position > position).order_by(feed.c.position).limit(limit))
    return [FeedChange(row.position, row.kind, row.account, tuple(json.loads(row.keys))) for row in rows]


def accounts_changed(
    conn: Connection, since: FeedPosition, tables: Collection[str], most: int
) -> frozenset[str] | None:
    """The accounts of which a row of these tables has changed after `since`. None: the feed does not go back so far, is
    of another epoch, or has more than `most` changes since then.
    """
    head = feed_head(conn)
    if head.epoch != since.epoch or head.pruned > since.position or head.position - since.position > most:
        return None
    changed = select(feed.c.account).where(feed.c.position > since.position, feed.c.kind.in_(tables)).distinct()
    return frozenset(conn.execute(changed).scalars())


# --- The few statements that SQLAlchemy spells differently for the two databases


def insert_if_absent(conn: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """INSERT … ON CONFLICT DO NOTHING for any unique key. Returns whether the row was added."""
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    added = make(table).values(dict(row)).on_conflict_do_nothing().returning(literal(1))
    return conn.execute(added).first() is not None
