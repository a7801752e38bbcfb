"""Reads the revocations that still matter, and removes the others."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection, bindparam, delete, select

from daypass.domain.directory import Revocation
from daypass.stores import sqlite as sqlite_driver
from daypass.stores.entities import ENTITY_TABLES

_mapping = ENTITY_TABLES[Revocation]
_c = _mapping.table.c


def read_revocations(conn: Connection, since: int) -> list[Revocation]:
    """Revocations that can still match a session: blocks in force, and revocations made or valid after `since` (ms)."""
    blocking = _c.block & (_c.block_until.is_(None) | (_c.block_until > since))
    query = select(*_mapping.columns).where(blocking | (_c.created_at > since) | (_c.issued_before > since))
    return [cast(Revocation, _mapping.to_entity(row)) for row in conn.execute(query.order_by(_c.position))]


def prune_revocations(conn: Connection, before: int, limit: int = 10_000) -> int:
    """Removes up to `limit` revocations that have no block and could not end a session after `before` (ms). Returns
    their number.

    They are not put on the feed: each process removes them itself (`RevocationCache.remove_spent`).
    """
    blocking = _c.block & (_c.block_until.is_(None) | (_c.block_until > before))
    spent = ~blocking & (_c.position > 0) & (_c.created_at <= before) & (_c.issued_before <= before)
    ids = select(_c.id).where(spent).order_by(_c.position).limit(limit)
    return conn.execute(delete(_mapping.table).where(_c.id.in_(ids))).rowcount


_ANY_AFTER = "SELECT 1 FROM revocations WHERE position > ? LIMIT 1"
_REVOCATIONS_AFTER = (  # made once: each batch of sessions runs it
    select(*_mapping.columns).where(_c.position > bindparam("after")).order_by(_c.position)
)


def revocations_after(conn: Connection, position: int) -> list[Revocation]:
    """Revocations with a feed position after this one."""
    if conn.dialect.name == "sqlite" and sqlite_driver.run(conn, _ANY_AFTER, (position,)).fetchone() is None:
        return []
    rows = conn.execute(_REVOCATIONS_AFTER, {"after": position})
    return [cast(Revocation, _mapping.to_entity(row)) for row in rows]
