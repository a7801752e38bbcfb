"""Reads the revocations that still matter, and removes the others."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection, bindparam, delete, select

from daypass.domain.directory import Revocation
from daypass.stores import sqlite_driver
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.schema import revocations


def read_revocations(conn: Connection, since: int) -> list[Revocation]:
    """Revocations that can still match a session: blocks in force, and revocations made or valid after `since` (ms)."""
    mapping = ENTITY_TABLES[Revocation]
    c = revocations.c
    blocking = c.block & (c.block_until.is_(None) | (c.block_until > since))
    query = select(*mapping.columns).where(blocking | (c.created_at > since) | (c.issued_before > since))
    return [cast(Revocation, mapping.to_entity(row)) for row in conn.execute(query.order_by(c.position))]


def prune_revocations(conn: Connection, before: int, limit: int = 10_000) -> int:
    """Removes up to `limit` revocations that have no block and could not end a session after `before` (ms). Returns
    their number.

    They are not put on the feed: each process removes them itself (`RevocationCache.remove_spent`).
    """
    c = revocations.c
    blocking = c.block & (c.block_until.is_(None) | (c.block_until > before))
    spent = ~blocking & (c.position > 0) & (c.created_at <= before) & (c.issued_before <= before)
    ids = select(c.id).where(spent).order_by(c.position).limit(limit)
    return conn.execute(delete(revocations).where(c.id.in_(ids))).rowcount


_ANY_AFTER = "SELECT 1 FROM revocations WHERE position > ? LIMIT 1"
_REVOCATIONS_AFTER = (  # made once: each batch of sessions runs it
    select(*ENTITY_TABLES[Revocation].columns)
    .where(revocations.c.position > bindparam("after"))
    .order_by(revocations.c.position)
)


def revocations_after(conn: Connection, position: int) -> list[Revocation]:
    """Revocations with a feed position after this one."""
    if conn.dialect.name == "sqlite" and sqlite_driver.run(conn, _ANY_AFTER, (position,)).fetchone() is None:
        return []
    rows = conn.execute(_REVOCATIONS_AFTER, {"after": position})
    return [cast(Revocation, ENTITY_TABLES[Revocation].to_entity(row)) for row in rows]
