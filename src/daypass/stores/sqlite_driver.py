"""Statements on SQLite's own connection, for those that each batch of the journal runs.

SQLAlchemy takes ten times as long as the driver for a small statement, and most of its code is not in the processor's
cache when a batch begins.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def run(conn: Connection, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Runs a statement in the transaction of `conn`. Raises SQLAlchemy's errors, without the statement's values."""
    driver = cast(sqlite3.Connection, conn.connection.driver_connection)
    try:
        return driver.execute(statement, parameters)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True) from error
