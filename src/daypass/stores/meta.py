"""Facts about the installation: short texts by name. It must not contain secrets."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import OperationalError

from daypass.stores.columns import meta
from daypass.stores.feed import insert_if_absent
from daypass.stores.log_heads import Losses

LOST = "lost"
"""The `Losses` that no log's opening names yet, as JSON; absent when there are none."""
REPORTED = "reported_losses"
"""All heads that were found missing, as LOG/SEQ."""
MISSING_EVENTS = "missing_events"
"""How many acknowledged records were found missing at starts, in all."""
INSTALLATION = "installation"
"""The random id of this installation, made with its schema: 32 hex digits."""

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Losses).decode


def get_meta(conn: Connection, key: str) -> str | None:
    """The text under `key`, or None."""
    return conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one_or_none()


def put_meta(conn: Connection, key: str, value: str) -> None:
    """Stores `value` under `key` and replaces any previous value."""
    if not insert_if_absent(conn, meta, {"key": key, "value": value}):
        conn.execute(update(meta).where(meta.c.key == key).values(value=value))


def installation(conn: Connection) -> str:
    """The id of this installation."""
    return str(conn.execute(select(meta.c.value).where(meta.c.key == INSTALLATION)).scalar_one())


def note_lost(conn: Connection, losses: Losses) -> None:
    """Stores what was found missing, for the next log to name."""
    names = {f"{head.log}/{head.seq}" for head in losses.heads}
    reported = set((get_meta(conn, REPORTED) or "").split())
    if names <= reported:  # by another process, or at a start
        return
    put_meta(conn, REPORTED, " ".join(sorted(reported | names)))
    earlier = take_lost(conn)
    heads = (*earlier.heads, *losses.heads)
    since = min(filter(None, (earlier.since, losses.since)), default=0)
    both = Losses(heads, earlier.missing + losses.missing, since, max(earlier.until, losses.until))
    put_meta(conn, LOST, _encode(both).decode())
    put_meta(conn, MISSING_EVENTS, str(missing_events(conn) + losses.missing))


def take_lost(conn: Connection) -> Losses:
    """Returns and removes what `note_lost` stored."""
    stored = get_meta(conn, LOST)
    if not stored:
        return Losses()
    put_meta(conn, LOST, "")
    return _decode(stored)


def missing_events(conn: Connection) -> int:
    """How many acknowledged records were found missing at starts, in all."""
    return int(get_meta(conn, MISSING_EVENTS) or 0)


# --- Checkpoints SQLite's write-ahead log on a background thread


_ROWS: Final = 2_000  # rows changed since the last time: about 500 pages of 8 KiB in the journal's tables
_END_SECONDS: Final = 5.0


class Checkpointer:
    """Its thread starts with the first checkpoint; a program that writes little never starts it.

    Args:
        connect: opens a separate connection; called on the thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._seen = 0
        self._due = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def note(self, changes: int) -> None:
        """Called after each commit with the number of rows that its connection has changed so far. Only one thread may
        call it at a time.
        """
        if 0 <= changes - self._seen < _ROWS:
            return
        self._seen = changes  # less than before when the connection is a new one
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="daypass-checkpoint", daemon=True)
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Stops the thread after the current checkpoint."""
        self._ended = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        """Uses one connection as long as it works, so that it stays with the file that it opened even if another file
        replaces it.

        If a checkpoint fails here, the writer does it and reports the error.
        """
        while not self._ended:
            self._wait()
            with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as conn:
                while not self._ended:
                    conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # never waits or blocks
                    self._wait()

    def _wait(self) -> None:
        self._due.wait()
        self._due.clear()


# --- The lock of those who write the directory: one transaction at a time, in the order in which they ask


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
