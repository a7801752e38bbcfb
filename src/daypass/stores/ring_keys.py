"""Ring keys at rest: rows in, rows out. It must never see key material: `wrapped` is opaque here."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from daypass.stores.dialect import insert_if_absent
from daypass.stores.schema import ring_keys


class RingKeyRow(NamedTuple):
    """One wrapped key; the order is that of `crypto.keys.StoredKey`. Times in ms."""

    ring: str
    id: str
    wrapped: bytes
    not_before: int
    sign_until: int
    verify_until: int
    created_at: int


def load_ring_keys(conn: Connection) -> list[RingKeyRow]:
    """Every stored key, by ring and time."""
    query = select(*(ring_keys.c[name] for name in RingKeyRow._fields))
    rows = conn.execute(query.order_by(ring_keys.c.ring, ring_keys.c.not_before))
    return [RingKeyRow(*row)._replace(wrapped=bytes(row.wrapped)) for row in rows]


def insert_ring_key(conn: Connection, row: RingKeyRow) -> bool:
    """Adds a key; False when its ring already has one of that id or beginning at that time: the first one stays."""
    return insert_if_absent(conn, ring_keys, row._asdict())
