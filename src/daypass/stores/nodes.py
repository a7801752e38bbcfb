"""The registry of the processes that serve from one database. Each writes its row regularly and removes it at the end.

A process that cannot reach the database must know whether others may have made revocations that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Final

from sqlalchemy import Connection, delete, func, select, update

from daypass.ports.directory import StoredKey
from daypass.stores.columns import nodes, ring_keys
from daypass.stores.engine import Database
from daypass.stores.feed import FeedChange, append, insert_if_absent

HEARTBEAT_SECONDS: Final = 5.0
LISTED_MS: Final = 30_000
"""A row that has not been written for so long, compared with the newest row, is not listed any more."""
_FORGET_MS: Final = 3_600_000
_NEWEST = select(func.max(nodes.c.seen_at)).scalar_subquery()
_LISTED = select(nodes.c.id).where(
    nodes.c.seen_at >= _NEWEST - LISTED_MS
)  # made once: building it costs more than running it


def report_node(database: Database, node: str, name: str, now: int) -> None:
    """Writes the row of a process. `now`: ms, used where the database has no clock."""
    with database.write_transaction() as conn:
        at = database.clock(conn) or now
        row = {"id": node, "name": name, "started_at": at, "seen_at": at}
        if not insert_if_absent(conn, nodes, row):
            conn.execute(update(nodes).where(nodes.c.id == node).values(seen_at=at))
        conn.execute(delete(nodes).where(nodes.c.seen_at < at - _FORGET_MS))


def remove_node(database: Database, node: str) -> None:
    """Removes the row of a process that stops."""
    with database.write_transaction() as conn:
        conn.execute(delete(nodes).where(nodes.c.id == node))


def newest_report(conn: Connection) -> int:
    """When a process last wrote its row, ms; 0 when none has."""
    return int(conn.execute(select(func.max(nodes.c.seen_at))).scalar_one() or 0)


def listed_nodes(conn: Connection) -> frozenset[str]:
    """The processes that have written their row recently."""
    return frozenset(conn.execute(_LISTED).scalars())


# --- Reads and writes the rows of ring keys


CHANGED: Final = "ring_keys"
"""The kind of a change of the feed: servers load the ring keys again."""


def load_ring_keys(conn: Connection) -> list[StoredKey]:
    """Every stored key, by ring and time."""
    query = select(*(ring_keys.c[field.name] for field in fields(StoredKey)))
    rows = conn.execute(query.order_by(ring_keys.c.ring, ring_keys.c.not_before))
    return [replace(StoredKey(*row), wrapped=bytes(row.wrapped)) for row in rows]


def replace_ring_keys(conn: Connection, keys: Sequence[StoredKey], now: int) -> None:
    """Replaces the wrapped key and the times of existing keys, and puts that on the change feed. `now`: ms."""
    c = ring_keys.c
    for key in keys:
        same = (c.ring == key.ring) & (c.id == key.id)
        conn.execute(update(ring_keys).where(same).values(asdict(key)))
    announce_ring_keys(conn, now)


def announce_ring_keys(conn: Connection, now: int) -> None:
    """Puts a change of the ring keys on the feed, so that every server loads them. Call it last in a transaction."""
    append(conn, [FeedChange(0, CHANGED, "", (CHANGED,))], now)


def insert_ring_key(conn: Connection, key: StoredKey) -> bool:
    """Adds a key. Returns False when its ring already has a key with this id or this not-before time; the first key is
    kept.
    """
    return insert_if_absent(conn, ring_keys, asdict(key))
