"""Reads and writes the rows of ring keys. It must never see key material: `wrapped` is opaque here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Final

from sqlalchemy import Connection, select, update

from daypass.ports.directory import StoredKey
from daypass.stores.feed import FeedChange, append, insert_if_absent
from daypass.stores.schema import ring_keys

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
