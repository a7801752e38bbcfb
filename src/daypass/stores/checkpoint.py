"""Brings home what is in SQLite's write-ahead log, on a thread beside the writer.

Left to itself SQLite does so within a commit, for which a crowd of requests then waits several times as long as usual. Most
of it is done here instead; the little that is left stays with the writer, the only one to find a moment in which the log is
home as a whole and can begin anew. A checkpoint changes nothing that is durable, and one that fails is done by the writer.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

_ROWS: Final = 2_000  # changed since the last time: some 500 pages of 8 KiB in the journal's tables
_END_SECONDS: Final = 5.0


class Checkpointer:
    """Its thread begins with the first work; a program that writes little has none.

    Args:
        connect: opens a connection of its own, called on the thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._seen = 0
        self._due = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def note(self, changes: int) -> None:
        """Told with each commit how many rows its connection has changed so far. Called by one thread at a time."""
        if 0 <= changes - self._seen < _ROWS:
            return
        self._seen = changes  # less than before when the connection is another one
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="daypass-checkpoint", daemon=True)
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Ends the thread, after the checkpoint that it is at."""
        self._ended = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        """With one connection for as long as it works: it stays with the file that it opened, whatever is put in its place.

        What fails here the writer does, and says what is wrong.
        """
        while not self._ended:
            self._wait()
            with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as conn:
                while not self._ended:
                    conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # waits for nobody, holds up nobody
                    self._wait()

    def _wait(self) -> None:
        self._due.wait()
        self._due.clear()
