"""The few statements that SQLAlchemy spells differently for the two databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, literal
from sqlalchemy.dialects import postgresql, sqlite


def insert_if_absent(conn: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """INSERT … ON CONFLICT DO NOTHING for any unique key. Returns whether the row was added."""
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    added = make(table).values(dict(row)).on_conflict_do_nothing().returning(literal(1))
    return conn.execute(added).first() is not None
