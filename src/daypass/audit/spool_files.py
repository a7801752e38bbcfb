"""The files of a spool beside its content: its lock, how it is set aside, and how it is removed."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

REJECTED: Final = ".rejected"


def lock_of(file: Path) -> int | None:
    """The locked file descriptor; None while another process has the lock, or when one has just removed the spool."""
    try:
        lock = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.stat().st_ino == os.fstat(lock).st_ino:  # not removed in between by the process that drained it
            return lock
    os.close(lock)
    return None


def remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    file.with_suffix(".lock").unlink(missing_ok=True)


def reject(file: Path) -> Path:
    """Renames a spool and its write-ahead log, so that no process drains it. Returns the new path of the file."""
    target = Path(f"{file}{REJECTED}")
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{file}{suffix}")
        if part.exists():
            part.rename(Path(f"{target}{suffix}"))
    return target
