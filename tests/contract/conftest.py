"""The stores as the contract sees them: every test that takes `database` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.contract.making import Recorder
from tests.postgres import postgres_server, postgres_url
from tests.prepared import prepared_postgres, url

from daypass.stores.directory import Directory
from daypass.stores.engine import Database, open_database

__all__ = ["postgres_server", "postgres_url", "prepared_postgres", "url"]

Opener = Callable[[], Database]
Follower = Callable[..., Awaitable[Directory]]


@pytest.fixture
def opener(url: str) -> Iterator[Opener]:
    """Opens one and the same prepared database again and again, as several processes would."""
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(open_database(url))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(opener: Opener) -> Database:
    return opener()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def follow(opener: Opener, recorder: Recorder) -> AsyncIterator[Follower]:
    """Starts directories that follow a database."""
    started: list[Directory] = []

    async def start(database: Database, **options: Any) -> Directory:
        started.append(recorder.directory(database, **options))
        await started[-1].start()
        return started[-1]

    yield start
    for directory in started:
        await directory.stop()


@pytest.fixture
async def directory(database: Database, follow: Follower) -> Directory:
    return await follow(database)
