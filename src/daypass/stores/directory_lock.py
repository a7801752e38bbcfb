"""The lock of those who write the directory: one transaction at a time, in the order in which they ask.

On PostgreSQL it is an advisory lock, held to the end of the transaction. On SQLite transactions that write exclude one
another anyway.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

KEY: Final = 0x64617970617373  # "daypass"
_TAKE: Final = text(f"SELECT pg_advisory_xact_lock({KEY})")
_LOCK_NOT_AVAILABLE: Final = "55P03"  # SQLSTATE


class DirectoryLocked(OSError):
    """Others keep the directory locked, and what has to be written cannot wait."""


def take_lock(conn: Connection) -> None:
    """Waits for the lock. Raises the database's error when others have kept it for as long as a statement may wait."""
    if conn.dialect.name == "postgresql":
        conn.execute(_TAKE)


def try_lock(conn: Connection) -> bool:
    """Waits for the lock. False: others have kept it for as long as a statement may wait; the transaction can continue
    with other statements.
    """
    try:
        with conn.begin_nested():
            take_lock(conn)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True
