"""A start that fails closes all that it had begun: no task, thread or connection is left over."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from tests.prepared import prepare_sqlite

from daypass.audit.refusals import Refusals
from daypass.config import Settings
from daypass.server import runtime as runtime_module
from daypass.server import startup
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database


def runtime_of(tmp_path: Path) -> Runtime:
    prepare_sqlite(tmp_path / "daypass.db")
    return Runtime(Settings.model_validate({"server": {"data": str(tmp_path)}}))


def own_threads() -> set[str]:
    """The threads of a runtime; those of the event loop's own pool stay until the loop ends."""
    return {t.name for t in threading.enumerate() if t.name.startswith(("daypass", "keys"))}


@pytest.mark.parametrize(
    "part", ["_open_keys", "_directory", "_journal", "_open_journal", "_environment", "_start_tasks"]
)
async def test_start_that_fails_leaves_no_task_and_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    before = own_threads()
    runtime = runtime_of(tmp_path)
    monkeypatch.setattr(runtime, part, broken)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        await runtime.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert own_threads() == before


async def slow(self: Runtime, snapshot: object) -> None:
    raise OperationalError("INSERT", None, psycopg.OperationalError("canceling statement due to statement timeout"))


def on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **database: Any) -> Settings:
    """Settings whose database is a file and is named like a server."""
    url = prepare_sqlite(tmp_path / "daypass.db")
    monkeypatch.setattr(runtime_module, "open_database", lambda _url, **how: open_database(url, **how))
    chosen = {"url": "postgresql://daypass@db.internal/shop", **database}
    return Settings.model_validate({"server": {"data": str(tmp_path)}, "database": chosen})


async def test_start_while_postgresql_is_slow_is_repeated_until_it_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, attempts = own_threads(), []

    async def open_journal(self: Runtime, snapshot: Any) -> None:
        attempts.append(self)
        await (slow if len(attempts) < 3 else real)(self, snapshot)

    real = Runtime._open_journal
    monkeypatch.setattr(Runtime, "_open_journal", open_journal)
    monkeypatch.setattr(startup, "_START_PAUSE_SECONDS", 0)
    runtime = await startup.started(on_postgres(tmp_path, monkeypatch))
    assert attempts[-1] is runtime
    assert len(attempts) == 3
    await runtime.stop()
    assert own_threads() == before


async def test_start_while_postgresql_stays_slow_fails_after_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "_open_journal", slow)
    with pytest.raises(OperationalError):
        await startup.started(on_postgres(tmp_path, monkeypatch, wait_seconds=0))


async def test_start_whose_part_fails_for_another_reason_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def fails(*_: object) -> None:
        attempts.append(1)
        broken()

    monkeypatch.setattr(Runtime, "_open_journal", fails)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        await startup.started(on_postgres(tmp_path, monkeypatch))
    assert attempts == [1]


async def test_stop_whose_first_parts_fail_closes_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = own_threads()
    runtime = runtime_of(tmp_path)
    monkeypatch.setattr(Refusals, "close", broken)  # the journal and the directory are closed after it
    await runtime.start()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        await runtime.stop()
    assert own_threads() == before


async def test_background_task_that_ends_by_itself_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends(self: Refusals) -> None:  # in the place of `run`
        broken()

    monkeypatch.setattr(Refusals, "run", ends)
    runtime, log = runtime_of(tmp_path), Log()
    runtime.log = log
    await runtime.start()
    await turns_of_the_loop()
    await runtime.stop()
    assert [task for event, task in log.errors if event == "background_task.ended"] == [ends.__qualname__]


async def test_start_with_default_settings_every_background_task_goes_on(tmp_path: Path) -> None:
    runtime, log = runtime_of(tmp_path), Log()
    runtime.log = log
    await runtime.start()
    await turns_of_the_loop()
    await runtime.stop()
    assert log.errors == []


async def turns_of_the_loop() -> None:
    """Lets tasks run that wait for nothing any more."""
    for _ in range(20):
        await asyncio.sleep(0)


class Log:
    """Takes what a runtime logs."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def error(self, event: str, *, task: str = "", exc_info: object = None) -> None:
        self.errors.append((event, task))


def broken(*_: Any) -> Any:
    raise RuntimeError("broken on purpose")
