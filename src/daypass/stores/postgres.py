"""PostgreSQL through psycopg 3: snapshots for readers, durable commits and bounded waits for the writer.

It must never be left waiting without an end: connecting, statements, locks and dead peers all have limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event

from daypass.stores.backend import Backend, FeedHead

_CONNECT_SECONDS = 3
_DEAD_PEER_MS = 5_000
_POOL_WAIT_SECONDS = 5.0
_WRITERS = 2  # the journal's, and one for management at start
_READ_OPTIONS = "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=15000"
_WRITE_OPTIONS = "-c synchronous_commit=on -c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=15000"


def open_backend(url: URL, readers: int) -> Backend:
    """Makes the engines; nothing is connected yet."""
    return Backend(
        name="postgresql",
        readers=_engine(url, readers, read_only=True),
        writer=_engine(url, _WRITERS, read_only=False),
        write_lock=_no_lock,
        committed=_nothing,
        settle=_unmoved,
        check=_check,
        close=lambda: None,
    )


def _engine(url: URL, size: int, *, read_only: bool) -> Engine:
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": _DEAD_PEER_MS,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "application_name": "daypass",
        "options": _READ_OPTIONS if read_only else _WRITE_OPTIONS,
    }
    given = dict(url.query)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={name: value for name, value in arguments.items() if name not in given},
        pool_size=size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_SECONDS,
        hide_parameters=True,  # an error must not show the values of a row
        isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
    )
    if read_only:

        @event.listens_for(engine, "connect")
        def connect(connection: psycopg.Connection[Any], _record: object) -> None:
            connection.read_only = True

    return engine


@contextmanager
def _no_lock() -> Iterator[None]:
    """PostgreSQL's own locks queue fairly; directory writers meet at the counter row."""
    yield


def _nothing(_head: FeedHead) -> None:
    """Nothing is noted beside a server."""


def _unmoved(_conn: Connection) -> bool:
    """Swapped databases show in the incarnation itself: `feed.feed_head` reads the cluster's identity and timeline."""
    return False


def _check(conn: Connection) -> str:
    """PostgreSQL checks its pages when it reads them; ask that it stores text as we send it."""
    encoding = conn.exec_driver_sql("SHOW server_encoding").scalar_one()
    return "" if encoding == "UTF8" else f"the database must have encoding UTF8, it has {encoding}"
