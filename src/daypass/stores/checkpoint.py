"""Checkpoints SQLite's write-ahead log on a background thread.

By default SQLite checkpoints within a commit, and the waiting batch of requests then takes several times as long as
usual. Here most of that work is done in the background. The writer does the small rest, because only the writer can
reach a moment when the whole log is checkpointed and can be restarted. A checkpoint does not change durable data. If
one fails, the writer does it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

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
