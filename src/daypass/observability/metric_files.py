"""The files in which worker processes share their metrics.

The library maps them into memory. A write to a page for which the disk has no room ends the process with SIGBUS, so each
process writes its files whole when it starts. Source: prometheus_client, "Multiprocess Mode (E.g. Gunicorn)".
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the directory. Without it a process keeps its metrics to itself."""

_BYTES: Final = 1 << 20  # several times what all series of a process take
_TOTALS: Final = ("counter", "histogram")  # of all processes, ended ones too
_LIVE: Final = ("gauge_livesum", "gauge_livemax")  # of running processes
_USED: Final = struct.Struct("i")  # the first bytes of a file: how many of it are used


def reserve() -> None:
    """Writes the files of this process, if it shares its metrics. Raises OSError, for example when the disk is full."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    for kind in (*_TOTALS, *_LIVE):
        file = _file(directory, kind, os.getpid())
        before = file.read_bytes() if file.exists() else b""  # of an earlier process with the same id
        draft = file.with_suffix(".new")  # others read files with the other suffix, which must not be empty
        draft.write_bytes(before.ljust(_BYTES, b"\0"))
        draft.replace(file)


def release(pid: int) -> None:
    """After the end of a process: removes its gauges, and what is not used of its totals."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    for kind in _LIVE:
        _file(directory, kind, pid).unlink(missing_ok=True)
    for kind in _TOTALS:
        file = _file(directory, kind, pid)
        if file.exists():
            with file.open("rb") as opened:
                used = _USED.unpack(opened.read(_USED.size))[0]
            if used:
                os.truncate(file, used)
            else:
                file.unlink()


def _file(directory: str, kind: str, pid: int) -> Path:
    return Path(directory, f"{kind}_{pid}.db")
