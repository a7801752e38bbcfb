"""Other processes: killed in the middle of it, or writing to the same database at the same time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.audit.making import requests_of, session_ids, verified

from daypass.audit.read import list_logs
from daypass.stores.engine import Database

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def worker(url: str, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.audit.worker", url, name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def newest_log(database: Database) -> Any:
    return database.read(list_logs)[-1]


def test_kill_in_mid_load_loses_nothing_that_was_acknowledged(url: str, database: Database) -> None:
    process = worker(url, "victim", 1_000_000)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(300)]
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.stdout.close()
    process.wait()
    log = newest_log(database).log
    verified(database, log)
    recorded = set(requests_of(database, log))
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= recorded
    assert {f"{name:0>32}" for name in acknowledged} <= session_ids(database)
    assert len(session_ids(database)) == len(recorded) - 1  # each session has its event, and the other way round


def test_two_processes_on_one_database_each_keep_a_whole_log(url: str, database: Database) -> None:
    processes = [worker(url, name, 400) for name in ("a", "b")]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert len(output.split()) == 400
    logs = database.read(list_logs)
    assert len(logs) == 2
    assert all(log.closed for log in logs)
    for log in logs:
        assert verified(database, log.log).records == 402
    assert len(session_ids(database)) == 800
