"""What an error of SQLite means: what an operator can check, and whether the disk is at fault or the content."""

from __future__ import annotations

import sqlite3
from typing import Final

_READ_ONLY: Final = (
    "It cannot be written: check the owner and mode of the file, of the -wal and -shm files beside it and of its directory, "
    "and the mount."
)
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "The disk is full: free some space.",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "It cannot be opened: check the owner and mode of the file and of its directory.",
    sqlite3.SQLITE_PERM: "It cannot be opened: check the owner and mode of the file and of its directory.",
    sqlite3.SQLITE_IOERR: "The disk reports an error: check its free space, quota and health.",
    sqlite3.SQLITE_BUSY: "Another process holds its lock: check which other programs use the file.",
}


def code_of(error: object) -> int:
    """The primary result code of the driver's error, also inside one of SQLAlchemy; 0 for other errors."""
    return int(getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", 0)) & 0xFF


def advice(error: object) -> str:
    """What an operator should check."""
    return _ADVICE.get(code_of(error), "Check the file and its disk.")


def is_disk_fault(error: object) -> bool:
    """Whether the disk, its space, the file's mode or a lock is at fault. The content of the file may be good then."""
    return code_of(error) in _ADVICE
