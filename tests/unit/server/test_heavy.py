"""Worker processes: what they return, what they refuse, and what becomes of those that die or that nobody waits for."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.contract.making import insert
from tests.prepared import prepare_sqlite

from daypass.domain.claims import Caller, nobody
from daypass.domain.directory import Account
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.session import FeedPosition
from daypass.operations import heavy as _registers_policies  # noqa: F401
from daypass.operations.access import lint
from daypass.ports import Scene
from daypass.scheduling.threads import abandon
from daypass.server import heavy as heavy_module
from daypass.server import worker as worker_module
from daypass.server.heavy import HeavyOnThreads, HeavyProcesses
from daypass.server.worker import DONE, FAILED, REFUSED, HeavyWorker, Setup, Task
from daypass.stores.engine import open_database

DENY = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}'


_LOADED = "'daypass.operations.iam.service' in __import__('sys').modules"


def run(scene: Callable[[HeavyProcesses], Coroutine[Any, Any, None]], url: str = "", **more: Any) -> None:
    async def whole() -> None:
        heavy = HeavyProcesses(1, Setup(url, {}), **more)
        try:
            await scene(heavy)
        finally:
            await heavy.close()

    asyncio.run(whole())


def test_compute_runs_in_another_process_that_starts_when_first_needed_and_serves_again() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        assert heavy.pids == ()
        first = await heavy.compute("a", os.getpid)
        assert first != os.getpid()
        assert await heavy.compute("a", os.getpid) == first
        assert heavy.pids == (first,)
        assert await heavy.compute("a", os.nice, 0) == min(19, os.nice(0) + worker_module.NICENESS)

    run(scene)


def test_compute_without_processes_needs_no_database() -> None:
    """`heavy.processes = 0`: during an outage the secret of a client is still checked."""

    async def scene() -> None:
        nothing: Any = None  # no directory, so no database
        heavy = HeavyOnThreads(nothing, nothing)
        assert await heavy.compute("a", os.getpid) == os.getpid()
        assert await heavy.compute("a", divmod, 7, 2, quick=True) == (3, 1)
        await heavy.close()

    asyncio.run(scene())


def test_quick_work_without_processes_does_not_wait_for_long_work() -> None:
    async def scene() -> None:
        nothing: Any = None
        heavy = HeavyOnThreads(nothing, nothing)
        ended = threading.Event()
        long = asyncio.create_task(heavy.compute("a", ended.wait))
        await asyncio.sleep(0)
        assert await heavy.compute("b", divmod, 7, 2, quick=True) == (3, 1)
        assert not long.done()
        ended.set()
        await long
        await heavy.close()

    asyncio.run(scene())


@pytest.mark.slow
def test_prepare_starts_the_processes_with_what_the_first_work_needs_and_the_work_uses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heavy_module, "_PREPARE_SECONDS", 0.0)

    async def scene(heavy: HeavyProcesses) -> None:
        heavy.prepare()
        while len(heavy.pids) < 2:  # noqa: ASYNC110  # threads start them
            await asyncio.sleep(0.01)
        started = set(heavy.pids)
        assert {await heavy.compute("a", os.getpid, quick=quick) for quick in (False, True)} == started
        assert await heavy.compute("a", eval, _LOADED)

    run(scene)


@pytest.mark.slow
def test_compute_process_that_starts_slowly_does_not_use_the_time_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine: several processes import at once, each for seconds."""
    slow = "import time; time.sleep(2.5); from daypass.server.worker import main; main()"
    monkeypatch.setattr(heavy_module, "_COMMAND", (sys.executable, "-c", slow))

    async def scene(heavy: HeavyProcesses) -> None:
        assert await heavy.compute("a", len, "abc") == 3
        with pytest.raises(DaypassError):  # work that hangs is still ended
            await heavy.compute("a", time.sleep, 60)

    run(scene, seconds=2.0)


def test_compute_process_that_never_starts_is_refused_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy_module, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(heavy_module, "_WAIT_SECONDS", 0.2)

    async def scene(heavy: HeavyProcesses) -> None:
        with pytest.raises(DaypassError) as refusal:
            await heavy.compute("a", len, "abc")
        assert refusal.value.kind is ErrorKind.UNAVAILABLE

    run(scene)


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_prepare_close_before_the_process_has_started_ends_it_without_an_error(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy_module, "_PREPARE_SECONDS", seconds)

    async def scene(heavy: HeavyProcesses) -> None:
        heavy.prepare()
        await asyncio.sleep(0.01)

    run(scene)


@pytest.mark.slow
def test_compute_worker_that_dies_is_replaced_and_its_work_refused_as_unavailable() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        with pytest.raises(DaypassError) as refusal:
            await heavy.compute("a", os._exit, 1)
        assert refusal.value.kind is ErrorKind.UNAVAILABLE
        assert await heavy.compute("a", len, "abc") == 3

    run(scene)


@pytest.mark.slow
def test_compute_nobody_waits_any_more_kills_the_process_and_the_next_one_serves() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        first = await heavy.compute("a", os.getpid)
        task = asyncio.create_task(heavy.compute("a", time.sleep, 60))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait((task,))
        assert await heavy.compute("b", os.getpid) != first

    run(scene)


def test_compute_that_takes_too_long_is_refused_as_unavailable() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        with pytest.raises(DaypassError) as refusal:
            await heavy.compute("a", time.sleep, 60)
        assert refusal.value.kind is ErrorKind.UNAVAILABLE

    run(scene, seconds=0.05)


def test_compute_leaves_secrets_of_the_settings_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYPASS_KEYS__ENCRYPTION_KEY", "canary")

    async def scene(heavy: HeavyProcesses) -> None:
        assert await heavy.compute("a", os.getenv, "DAYPASS_KEYS__ENCRYPTION_KEY") is None

    run(scene)


def test_read_sees_the_database_and_its_refusals_come_back_whole(tmp_path: Path) -> None:
    file = tmp_path / "daypass.db"
    prepare_sqlite(file)

    async def scene(heavy: HeavyProcesses) -> None:
        assert await heavy.read("a", lint._lint_page, "111122223333", "role", "", 10) == ([], "user:")
        with pytest.raises(DaypassError) as refusal:
            await heavy.read("a", lint._lint_document, "111122223333", DENY, PolicyKind.TRUST, "none")
        assert (refusal.value.kind, refusal.value.public) == (
            ErrorKind.NOT_FOUND,
            "The role with name none cannot be found.",
        )

    run(scene, f"sqlite:///{file}")


def test_worker_failure_is_told_to_the_server_and_not_raised() -> None:
    outcome, value = HeavyWorker(Setup("", {})).do(Task(divmod, (1, 0), reads=False))
    assert outcome == FAILED
    assert "ZeroDivisionError" in value
    assert HeavyWorker(Setup("", {})).do(Task(divmod, (7, 2), reads=False)) == (DONE, (3, 1))
    assert HeavyWorker(Setup("nonsense://", {})).do(Task(len, (), reads=True))[0] in (FAILED, REFUSED)


def _accounts(scene: Scene) -> list[str]:
    return [account.id for account in scene.tx.find(Account)]


def test_worker_reads_the_standby_only_if_it_has_everything_that_the_server_has_seen(tmp_path: Path) -> None:
    urls = [prepare_sqlite(tmp_path / "primary.db"), f"sqlite:///{tmp_path / 'standby.db'}"]
    with closing(open_database(urls[0])) as primary:
        insert(primary, Account("111122223333", "first", True, 0))
        old = FeedPosition(primary.epoch(), 1)
    shutil.copy(tmp_path / "primary.db", tmp_path / "standby.db")
    with closing(open_database(urls[0])) as primary:
        insert(primary, Account("444455556666", "second", False, 0))
    new = FeedPosition(old.epoch, 2)
    worker = HeavyWorker(Setup(urls[0], {}, standby_url=urls[1]))
    assert worker.do(Task(_accounts, (), True, old)) == (DONE, ["111122223333"])
    assert worker.do(Task(_accounts, (), True, new)) == (DONE, ["111122223333", "444455556666"])
    other = FeedPosition("another", 1)
    assert worker.do(Task(_accounts, (), True, other)) == (DONE, ["111122223333", "444455556666"])
    for database in (worker._database, worker._standby):
        assert database is not None
        database.close()


def test_compute_failure_of_a_worker_is_an_unexpected_error_here() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        with pytest.raises(RuntimeError, match="divmod"):
            await heavy.compute("a", divmod, 1, 0)

    run(scene)


def test_compute_policies_and_callers_travel_without_what_was_worked_out_from_them() -> None:
    caller = nobody(FeedPosition("x", 1))
    caller.derived.actor = {"x": object()}
    document = compile_stored(DENY, PolicyKind.IDENTITY)

    async def scene(heavy: HeavyProcesses) -> None:
        returned: Caller = await heavy.compute("a", max, [caller])
        assert returned == caller
        assert returned.derived.actor is None
        assert (await heavy.compute("a", max, [document])).statements[0].written == document.statements[0].written

    run(scene)


@pytest.mark.slow
def test_compute_client_that_disconnects_ends_the_work_and_the_request_is_refused() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        await heavy.compute("a", len, "")
        (pid,) = heavy.pids
        running = asyncio.create_task(heavy.compute("a", time.sleep, 600))
        waiting = asyncio.create_task(heavy.compute("a", time.sleep, 600))
        while heavy.waiting != 1:  # noqa: ASYNC110  # a thread takes it, not this loop
            await asyncio.sleep(0.001)
        for task in (waiting, running):
            abandon(task)
            with pytest.raises(DaypassError) as refusal:
                await task
            assert refusal.value.kind is ErrorKind.UNAVAILABLE
            assert refusal.value.private == {"reason": "the client has disconnected"}
        assert await heavy.compute("b", os.getpid) != pid  # the process of the abandoned work was ended
        assert heavy.waiting == 0

    run(scene)


def test_compute_caller_that_is_cancelled_is_cancelled() -> None:
    async def scene(heavy: HeavyProcesses) -> None:
        running = asyncio.create_task(heavy.compute("a", time.sleep, 600))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(scene)


def test_worker_loads_nothing_that_only_the_server_needs() -> None:
    """Each worker is a new process, also after each piece of work that is given up: what it loads is its cost."""
    show = "import sys, daypass.server.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True).stdout.split()
    assert "sqlalchemy" in loaded
    assert not {"alembic", "fastapi", "prometheus_client", "psycopg", "pydantic", "structlog", "uvicorn"} & set(loaded)
