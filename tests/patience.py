"""Changes of this process so that tests do not wait for the disk, and so that no slow machine fails them.

Three quarters of a commit's time is the disk's, and what it promises shows only after a power failure: no test makes one
(a process that is killed leaves its writes to the kernel). PostgreSQL's tests do without it in the same way (`_SETTINGS` of
`tests.postgres`). The limits are those of a server that people wait for. A test that is about one of them sets its own; one
about durability takes the fixture `durable`. Servers that tests start as processes have everything as it is.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from daypass.audit import spool
from daypass.stores import postgres, sqlite
from daypass.stores.cache import Tuning
from daypass.stores.directory import Directory

SECONDS: Final = 60.0
"""Longer than any machine takes that still works."""

_WITHOUT_THE_DISK: Final = "synchronous=OFF"

PATIENT_JOURNAL: Final[dict[str, Any]] = {"deadline_seconds": SECONDS}
"""The section `journal` of settings for an installation in a test's process."""

PATIENT_POSTGRES: Final[dict[str, dict[str, float]]] = {
    "database": {"answer_seconds": SECONDS},
    "spool": {"after_seconds": SECONDS},
}
"""Sections of settings with which no statement of PostgreSQL fails because the machine is busy."""

_REAL: Final = (sqlite._PRAGMAS, spool._PRAGMAS)
_FSYNC: Final = os.fsync


async def eventually(holds: Callable[[], object]) -> None:
    """Waits until it holds."""
    ends = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < ends, "it has not happened"
        await asyncio.sleep(0.01)


def be_patient(patch: pytest.MonkeyPatch) -> None:
    for module, real in zip((sqlite, spool), _REAL, strict=True):
        # First of all, because a change of the journal mode waits for the disk.
        changed = sorted(map(_patient, real), key=_WITHOUT_THE_DISK.__ne__)
        patch.setattr(module, "_PRAGMAS", tuple(changed))
    patch.setattr(os, "fsync", lambda _: None)
    for backend in (sqlite, postgres):
        patch.setattr(backend, "_POOL_WAIT_SECONDS", SECONDS)
    patch.setattr(postgres, "_CONNECT_SECONDS", int(SECONDS))
    defaults = Directory.__init__.__kwdefaults__
    assert defaults is not None
    patch.setitem(defaults, "tuning", Tuning(poll_timeout_seconds=SECONDS))


def compile_once(patch: pytest.MonkeyPatch) -> None:
    """All engines share the statements that were compiled. Each compiles its own otherwise: a sixth of a server's start."""
    compiled = LRUCache[Any, Any](5_000)
    shared = property(lambda _: compiled, lambda _, own: None)
    patch.setattr(Engine, "_compiled_cache", shared, raising=False)
    for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):  # a part of the cache's keys
        patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))
        patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))


def be_durable(patch: pytest.MonkeyPatch) -> None:
    """SQLite and files are written as in a server."""
    for module, real in zip((sqlite, spool), _REAL, strict=True):
        patch.setattr(module, "_PRAGMAS", real)
    patch.setattr(os, "fsync", _FSYNC)


def _patient(pragma: str) -> str:
    name, _, value = pragma.partition("=")
    if name == "synchronous":
        return _WITHOUT_THE_DISK
    changed = {"busy_timeout": f"{int(SECONDS * 1000)}"}
    return f"{name}={changed.get(name, value)}"
