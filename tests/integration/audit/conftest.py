"""A prepared database of each kind, its URL for other processes, and journals that are closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.integration.audit.making import Flaky, TestIds
from tests.postgres import postgres_server, postgres_url
from tests.prepared import prepared_postgres, url

from daypass.audit.batch import JournalOptions
from daypass.audit.journal import Journal
from daypass.ports.clock import Clock
from daypass.stores.engine import Database, open_database

__all__ = ["postgres_server", "postgres_url", "prepared_postgres", "url"]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_database(url)
    yield database
    database.close()


@pytest.fixture
def flaky(database: Database) -> Flaky:
    return Flaky(database)


Starter = Callable[..., Any]


@pytest.fixture
async def start(flaky: Flaky) -> AsyncIterator[Starter]:
    """Starts journals on the database, whose faults the test sets through `flaky`."""
    started: list[Journal] = []

    async def make(**changes: Any) -> Journal:
        options = {"deadline_seconds": 300.0, "retry_seconds": 0.02, "idle_seconds": 5.0, **changes.pop("options", {})}
        clock, offline = changes.pop("clock", Clock()), changes.pop("offline", None)
        journal = Journal(flaky, clock, TestIds(), "node-1", JournalOptions(**options), **changes)  # type: ignore[arg-type]
        await journal.start(offline)
        started.append(journal)
        return journal

    yield make
    flaky.faults.clear()
    for journal in started:
        await journal.close()
